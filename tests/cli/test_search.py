"""`plait search` and the retrieval of `plait evaluate`: what they print, and every mistake in one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import Shell

from plait.evaluate import read_record
from tiny_data import make_manifest, tiny_tree


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with links, its data beside it."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("linked")
    tree = tiny_tree(make_manifest(folder / "data"))
    tree["train"] = {**tree["train"], "alignment": {"weight": 0.5}}
    fit(make_config(tree), folder / "run")
    return folder / "run"


def manifest_of(run: Path) -> Path:
    return run.parent / "data" / "manifest.jsonl"


def test_words_search_every_modality(shell: Shell, linked: Path):
    first = shell("search", linked, "a red zebra", "--in", manifest_of(linked), "--top", 2, "--json")
    assert first.code == 0, first.err
    found = first.json
    assert (found["query"], found["unknown"], found["index"]["state"]) == ("target", ["zebra"], "built")
    assert {side: len(part["hits"]) for side, part in found["sides"].items()} == {"text": 2, "image": 2, "audio": 2}
    image = found["sides"]["image"]
    assert (image["entries"], image["rows_without"]) == (12, 12)
    hit = image["hits"][0]
    rows = {row["id"]: row for row in map(json.loads, manifest_of(linked).read_text(encoding="utf-8").splitlines())}
    assert [rows[i]["image"] for i in hit["ids"]] == hit["item"]
    assert -1 <= hit["likeness"] <= 1
    again = shell("search", linked, "a red zebra", "--in", manifest_of(linked), "--top", 2)
    assert "vectors reused" in again.out
    assert "unknown to the model and left out: zebra" in again.out
    assert "image: the best 2 of 12 (12 rows have none)" in again.out


def test_an_input_finds_itself_among_its_own_kind_and_searches_the_others(shell: Shell, linked: Path):
    data = manifest_of(linked).parent
    for option, value, side in (("--image", data / "0.png", "image"), ("--audio", data / "0.wav", "audio")):
        same = shell("search", linked, "--in", data, option, value, "--of", side, "--json").json
        first = same["sides"][side]["hits"][0]
        assert first["likeness"] == pytest.approx(1.0, abs=1e-5)
        assert first["item"] == [f"0{value.suffix}"]
        other = shell("search", linked, "--in", data, option, value, "--json").json
        assert set(other["sides"]) == {"text", "image", "audio", "target"} - {side}
    text = "which colour, and which tone? number 1"
    (first, *_) = shell("search", linked, "--in", data, "--text", text, "--of", "text", "--json").json["sides"]["text"][
        "hits"
    ]
    assert first["item"] == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--in", "M"], "a search begins with one thing. Give the words of a target, or one input"),
        (["red", "--in", "M", "--text", "red"], "a search begins with one thing"),
        (["red", "--in", "M", "--of", "imag"], "--of: this model has no 'imag' to search. Did you mean 'image'"),
        (["red", "--in", "gone.jsonl"], "gone.jsonl: no such file"),
        (["quagga", "--in", "M"], "the model knows none of these words: 'quagga'"),
        (["--in", "M", "--image", "gone.png"], "gone.png: no such file"),
        (["red", "--in", "M", "--index", "M"], "is no index that plait wrote"),
    ],
)
def test_mistakes_are_one_message(shell: Shell, linked: Path, words: list[str], message: str):
    outcome = shell("search", linked, *(manifest_of(linked) if word == "M" else word for word in words))
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_manifest_without_what_is_searched_says_what_it_has(shell: Shell, linked: Path, tmp_path: Path):
    (tmp_path / "m.jsonl").write_text('{"id": "1", "split": "test", "text": "red"}\n', encoding="utf-8")
    outcome = shell("search", linked, "red", "--in", tmp_path / "m.jsonl", "--of", "image")
    assert outcome.code == 2
    assert "no row has image. Its rows have: text" in outcome.err


def test_a_run_without_links_says_what_to_set(shell: Shell, trained: Path):
    outcome = shell("search", trained, "red", "--in", manifest_of(trained))
    assert outcome.code == 2
    assert "was trained without links between its modalities" in outcome.err
    assert "train.alignment.weight=0.1" in outcome.err
    assert not (trained / "search").exists()


def test_evaluate_shows_retrieval_of_every_direction_and_writes_ranks(shell: Shell, linked: Path, trained: Path):
    outcome = shell("evaluate", linked, "--split", "train", "--json")
    assert outcome.code == 0, outcome.err
    pairs = {(one["query"], one["gallery"]) for one in outcome.json["retrieval"]}
    sides = ("text", "image", "audio", "target")
    assert pairs == {(a, b) for a in sides for b in sides if a != b}
    assert "retrieval among the distinct items" in outcome.err
    record = read_record(linked / "records" / "train.parquet")
    for row in record.rows:
        has = {*row.inputs, "target"}
        assert {pair for pair, rank in row.ranks.items() if rank} == {f"{a}.{b}" for a in has for b in has if a != b}
    plain = shell("evaluate", trained, "--json").json
    assert plain["retrieval"] == []
