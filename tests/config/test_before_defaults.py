"""What a run of an older format means by the keys that it does not state."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from plait.config import make_config
from plait.config.before import BEFORE, FORMAT, as_written, left_to_run
from plait.data.text import BPEConfig, form_of

DATA: dict[str, Any] = {"manifest": "m.jsonl"}


def meant(tokenizer: object, format: int = 1) -> Any:
    """The tokenizer of a run's configuration that says this of it."""
    data = DATA if tokenizer is None else {**DATA, "tokenizer": tokenizer}
    return make_config(as_written({"data": data}, format)).data.tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [None, {}, "bpe", "character", {"kind": "word"}, {"lowercase": False}, {"kind": "file", "path": "t.json"}],
)
def test_every_tokenizer_of_an_old_run_goes_on_with_nfkc(tokenizer: object):
    """However it is written: its vocabulary was made of folded texts, so what is read has to be folded too."""
    assert meant(tokenizer).normalisation == "nfkc"
    now = meant(tokenizer, FORMAT).normalisation
    assert now == ("none" if meant(tokenizer).kind == "file" else "nfc")


def test_what_a_run_states_is_what_it_means():
    assert meant({"kind": "bpe", "normalisation": "nfc"}).normalisation == "nfc"
    config = make_config({"data": DATA, "generate": {"max_tokens": 9}, "evaluate": {"normalisation": "verbatim"}})
    left = left_to_run(config, 1)
    assert (left.generate.max_tokens, left.evaluate.normalisation) == (9, "verbatim")
    assert left.data.tokenizer.normalisation == "nfkc"
    assert left_to_run(config, FORMAT) == config


def test_a_part_of_the_users_own_is_not_asked_and_keeps_what_it_knows(monkeypatch: pytest.MonkeyPatch):
    """Its code is not run to fill in a key; a class that has the key gets the value once it is loaded, another nothing."""

    class Own(BPEConfig):
        kind: Literal["own_parts:Own"] = "own_parts:Own"  # pyright: ignore[reportIncompatibleVariableOverride]

    tree = {"data": {**DATA, "tokenizer": {"kind": "own_parts:Own", "size": 300}}}
    written = as_written(tree, 1)
    assert written["data"]["tokenizer"] == {"kind": "own_parts:Own", "size": 300}
    module = ModuleType("own_parts")
    module.__dict__["Own"] = Own
    monkeypatch.setitem(sys.modules, "own_parts", module)
    monkeypatch.chdir(Path(__file__).parent)
    own = Own(size=300)
    config = make_config({"data": {**DATA, "tokenizer": own}})
    assert left_to_run(config, 1).data.tokenizer.normalisation == "nfkc"
    assert left_to_run(config, 1).data.tokenizer.size == 300


def test_a_tokenizer_that_knows_no_such_key_does_what_it_did():
    from plait.choices import Config

    class Other(Config):
        kind: Literal["other"] = "other"
        lowercase: bool = False

    assert form_of(Other()) == "nfkc"
    config = make_config({"data": {**DATA, "tokenizer": Other()}})
    assert left_to_run(config, 1).data.tokenizer == Other()


def test_every_key_of_the_table_exists():
    config = left_to_run(make_config({"data": DATA}), 1)
    for key, value in BEFORE[1].items():
        node: Any = config
        for name in key.split("."):
            node = getattr(node, name)
        assert node == value, key
