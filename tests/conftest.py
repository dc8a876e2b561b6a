"""Tests check every jaxtyping annotation of the package with beartype, compute in one thread and never touch the network.

Only slow tests do not check: they train for long what shorter tests have checked, and the checks take half of their time.
"""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# how long a machine takes is no property of the code, and a red run should be the fault of the change before it
settings.register_profile("plait", deadline=None, derandomize=True)
settings.load_profile("plait")

hook = install_import_hook("plait", "beartype.beartype")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache of features."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(tmp_path_factory.mktemp("plait-cache")))
        yield


@pytest.fixture(autouse=True)
def _checked(request: pytest.FixtureRequest) -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", request.node.get_closest_marker("slow") is not None)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
