"""Features that were changed on the disk are never used; features that nothing can use any more are named and cleared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from feature_helpers import frozen_config, parts_of
from safetensors.torch import load_file, save_file

from plait.cli.app import run as command
from plait.features import identity
from plait.features.block import DamagedBlock, open_block, write_block
from plait.features.listing import clear, listing
from plait.features.store import ABOUT, FeatureStore, features_folder, read_about
from plait.layers import set_attention
from plait.train import fit

ID = "0123456789abcdef"


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def blocks() -> list[Path]:
    return sorted(features_folder().glob("*/*.block"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << (at % 8)
    path.write_bytes(data)


def test_any_flipped_bit_is_seen(tmp_path: Path) -> None:
    """Previously a flipped bit in the values, or in a key, was read in silence."""
    torch.manual_seed(0)
    values = [torch.randn(n + 1, 4) for n in range(3)]
    path = write_block(tmp_path, [key(n) for n in range(3)], values, [0, 10, 20])
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole)
        flip(path, at)
        block = open_block(path)
        if block is None:
            continue
        damaged = 0
        for number, value in enumerate(values):
            try:
                found = block.item(number)
            except DamagedBlock:
                damaged += 1
            else:
                assert torch.equal(found, value), at
        assert block.keys == tuple(key(n) for n in range(3))
        assert damaged or at < 1000  # spaces of the header


def test_a_damaged_block_is_named_set_aside_and_computed_again(manifest: Path, tmp_path: Path) -> None:
    """Training with it gives what training with a whole one gives, to the last bit."""
    config = frozen_config(manifest, cache=["image", "text"])
    first = fit(config, tmp_path / "first").run
    (path,) = [p for p in blocks() if read_about(p.parent)["modality"] == "image"]
    whole = load_file(path)
    start = path.read_bytes().find(whole["values"].numpy().tobytes())
    flip(path, start + 5)
    again = parts_of(config)
    cache = again.cache()
    cache.fill(again.dataset.split("train"))
    assert any(f"features: {path} is damaged and not used" in line for line in again.said)
    assert not path.exists()
    assert not list(path.parent.glob("*.damaged"))
    second = fit(config, tmp_path / "second").run
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_read_without_filling_is_looked_at_as_well(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loader's worker, or one batch alone: the damaged block's items are not known, those of others are."""
    store = FeatureStore(ID, {"modality": "image"})
    store.add([key(1), key(2)], [torch.ones(3, 4), torch.zeros(2, 4) + 2], [0, 0])
    store.add([key(3)], [torch.ones(1, 4)], [0])
    path = next(p for p in blocks() if open_block(p).keys[0] == key(1))  # pyright: ignore
    flip(path, path.read_bytes().find(torch.ones(3, 4).numpy().tobytes()) + 3)
    other = FeatureStore(ID, {"modality": "image"})
    other.refresh()
    assert other.get(key(1)) is None
    assert f"{path} is damaged and not used" in capsys.readouterr().err
    assert key(2) not in other
    assert other.get(key(3)) is not None
    assert [p.name for p in path.parent.glob("*.damaged")] == [path.with_suffix(".damaged").name]
    with other.filling(lambda _: None):
        assert not list(path.parent.glob("*.damaged"))


def test_a_block_of_before_is_used_as_it_is(tmp_path: Path) -> None:
    """It has no sums: its values are read as they stand."""
    path = write_block(tmp_path, [key(1)], [torch.ones(3, 4)], [7])
    tensors = load_file(path)
    del tensors["sums"]
    save_file(tensors, path)
    block = open_block(path)
    assert block is not None
    assert torch.equal(block.item(0), torch.ones(3, 4))


def test_features_do_not_depend_on_the_attention_that_a_run_chose(manifest: Path) -> None:
    """Previously a resumed run, whose attention was set by then, filled the cache with other bits than a new one."""
    found = []
    for kind in ("fused", "math"):
        parts = parts_of(frozen_config(manifest, cache=["image"]))
        set_attention(parts.model, kind)
        cache = parts.cache()
        cache.fill(parts.dataset.samples)
        (path,) = blocks()
        found.append({k: v.clone() for k, v in load_file(path).items()})
        clear()
    assert torch.equal(found[0]["values"], found[1]["values"])
    assert torch.equal(found[0]["sums"], found[1]["sums"])


def test_what_nothing_can_use_any_more_is_named_and_cleared(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Previously features of other code or libraries lay there for ever, and nothing told them from those in use."""
    parts = parts_of(frozen_config(manifest, cache=["image", "text"]))
    parts.cache().fill(parts.dataset.samples)
    store = FeatureStore(ID, {"modality": "image", "kind": "vit"})
    store.add([key(1)], [torch.ones(3, 4)], [0])
    assert {row.outdated for row in listing().stored} == {(), None}
    assert clear(only_outdated=True) == []
    real = identity.version_of
    monkeypatch.setattr(identity, "version_of", lambda name: "0.0.1" if name == "torch" else real(name))
    assert command(["cache"]) == 0
    out = capsys.readouterr().out
    assert out.count(f"made with torch {real('torch')} (here: 0.0.1)") == 2
    assert "plait cache --clear --outdated" in out
    assert command(["cache", "--clear", "--outdated", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cleared"]) == 2
    assert [row.id for row in listing().stored] == [ID]
    assert command(["cache", "--outdated"]) == 2
    assert "--outdated requires --clear" in capsys.readouterr().err


def test_code_that_was_changed_or_is_gone_is_told(tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("x = 1\n", encoding="utf-8")
    files = {
        "mine": code,
        "plait.modalities.image.vit": Path(identity.__file__).parents[1] / "modalities" / "image" / "vit.py",
    }
    made = {
        "format": identity.FORMAT,
        "libraries": {},
        "code": identity.code_digest(files),
        "modules": {name: str(path) for name, path in files.items()}
        | {"plait.modalities.image.vit": "/another/place/vit.py"},
    }
    assert identity.outdated(made) == []
    code.write_text("x = 2\n", encoding="utf-8")
    assert identity.outdated(made) == ["its code was changed since"]
    code.unlink()
    assert identity.outdated(made) == ["its code is gone: mine"]
    assert identity.outdated(None) is None


def test_what_an_older_plait_kept_learns_what_it_is_made_with_when_it_is_used(manifest: Path) -> None:
    parts = parts_of(frozen_config(manifest, cache=["image"]))
    parts.cache().fill(parts.dataset.samples)
    (folder,) = (path.parent for path in blocks())
    about = read_about(folder)
    (folder / ABOUT).write_text(json.dumps({k: v for k, v in about.items() if k != "identity"}), encoding="utf-8")
    assert [row.outdated for row in listing().stored] == [None]
    parts_of(parts.config).cache()
    assert [row.outdated for row in listing().stored] == [()]
    assert read_about(folder) == about
