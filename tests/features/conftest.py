"""Fixtures of the cache's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_data import make_manifest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 rows with every subset of text, image and audio; not to be changed."""
    return make_manifest(tmp_path_factory.mktemp("data"))
