"""Tests check every jaxtyping annotation of the package with beartype, run on two threads and never touch the network."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import install_import_hook

hook = install_import_hook("plait", "beartype.beartype")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
