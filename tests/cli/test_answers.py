"""Answers files: names of users apart from names of ours, one format per file, and going on where a file ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Shell

from plait.cli.answers import answered, as_row, check_segments
from plait.errors import UserError
from plait.generate import Generated

COLLIDING = ("confidence", "id", "log_probability", "scores", "inputs", "format", "segments", "bits")
WORDS = ("red", "green", "blue")


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def tree(manifest: Path, **parts: Any) -> dict[str, Any]:
    return {
        "data": {"manifest": str(manifest), "workers": 0},
        "width": 16,
        "encoders": {"text": {"kind": "transformer", "layers": 1, "num_heads": 2}},
        "lm": {"kind": "transformer", "layers": 2, "num_heads": 2},
        "train": {"steps": 4, "batch_size": 8, "device": "cpu", "threads": 1, "evaluate_every": 2},
        "evaluate": {"num_resamples": 100},
        **parts,
    }


@pytest.fixture(scope="module")
def colliding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose segments and tags are called as Plait's own keys are."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("colliding")
    splits = ["train", "train", "train", "tune", "test", "train"]
    rows = [
        {
            "id": f"r{i}",
            "split": splits[i % 6],
            "text": f"say {WORDS[i % 3]}",
            "target": {name: f"{name[0]} {WORDS[i % 3]}" for name in COLLIDING},
            "tags": {"inputs": ["loud", "low"][i // 6 % 2]},
        }
        for i in range(24)
    ]
    fit(make_config(tree(write(folder / "m.jsonl", *rows))), folder / "run")
    return folder / "run"


def requests(path: Path, *ids: str) -> Path:
    return write(path, *({"id": id, "text": "say red"} for id in ids))


def test_segments_called_as_our_keys_keep_their_text(colliding: Path, tmp_path: Path, shell: Shell):
    """Previously the text of a segment `id` was the answer's id, and a second run answered everything again."""
    ask = (
        "generate",
        colliding,
        "--manifest",
        requests(tmp_path / "ask.jsonl", "a", "b"),
        "--out",
        tmp_path / "out.jsonl",
    )
    for _ in range(2):
        assert shell(*ask).code == 0
    rows = read(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == ["a", "b"]
    for row in rows:
        assert row["format"] == 2
        assert set(row["segments"]) == set(row["confidence"]) == set(row["log_probability"]) == set(COLLIDING)
        assert all(isinstance(text, str) for text in row["segments"].values())
        assert row["inputs"] == ["text"]


@pytest.mark.parametrize("more", [(), ("--stream",), ("--choices", "id=red,blue")])
def test_the_json_of_one_answer_keeps_names_apart(colliding: Path, shell: Shell, more: tuple[str, ...]):
    found = shell("generate", colliding, "--text", "say red", "--json", *more).json
    assert found["format"] == 2
    assert set(found["segments"]) == set(COLLIDING)
    if "--stream" not in more:
        assert found["id"] == "request"
        assert found["inputs"] == ["text"]


def test_every_command_takes_segments_and_tags_called_as_our_keys(colliding: Path, tmp_path: Path, shell: Shell):
    from plait.evaluate import read_record
    from plait.train.metrics import read_metrics, tune_segments

    found = shell("evaluate", colliding, "--json").json
    assert set(found["metrics"]) == set(COLLIDING)
    assert set(found["by"]) == {"inputs=loud", "inputs=low"}
    record = read_record(colliding / "records" / "test.parquet")
    for row in record.rows:
        assert set(row.segments) == set(COLLIDING)
        assert row.tags["inputs"] in ("loud", "low")
        assert row.inputs == ("text",)
    (first, *_) = [line["tune"] for line in read_metrics(colliding) if "tune" in line]
    assert set(tune_segments(first)) == set(COLLIDING)
    assert first["bits"] != tune_segments(first)["bits"]
    assert shell("report", colliding).code == 0
    assert shell("explain", colliding, "--json").code == 0


def old_row(id: str, **segments: str) -> dict[str, Any]:
    values = dict.fromkeys(segments, 0.5)
    return {"id": id, **segments, "log_probability": values, "confidence": values, "inputs": ["text"]}


def test_a_file_of_format_1_goes_on_in_format_1(trained: Path, tmp_path: Path, shell: Shell):
    out = write(tmp_path / "out.jsonl", old_row("a", heard="x", answer="y"))
    ask = ("generate", trained, "--manifest", requests(tmp_path / "ask.jsonl", "a", "b"), "--out", out)
    assert shell(*ask, "--json").json["answered_before"] == 1
    first, second = read(out)
    assert first == old_row("a", heard="x", answer="y")
    assert second["id"] == "b"
    assert list(second) == ["id", "heard", "answer", "log_probability", "confidence", "inputs"]


def test_a_segment_that_format_1_cannot_hold_needs_a_new_file(colliding: Path, tmp_path: Path, shell: Shell):
    out = write(tmp_path / "out.jsonl", old_row("a", said="x"))
    before = out.read_bytes()
    outcome = shell("generate", colliding, "--manifest", requests(tmp_path / "ask.jsonl", "b"), "--out", out)
    assert outcome.code == 2
    assert "format 1, which cannot hold a segment called" in outcome.err
    assert out.read_bytes() == before


def test_one_file_holds_one_format(tmp_path: Path):
    generated = Generated("b", {"answer": "y"}, {"answer": (1,)}, {"answer": -0.5})
    out = write(tmp_path / "out.jsonl", old_row("a", answer="x"), as_row(generated, ["text"]))
    with pytest.raises(UserError, match=r"out.jsonl:2: an answer of format 2 below those of format 1"):
        answered(out, ("answer",))
    write(out, {**as_row(generated, ["text"]), "format": 3})
    with pytest.raises(UserError, match="an answer of format 3"):
        answered(out, ("answer",))
    write(out, as_row(generated, ["text"]))
    assert answered(out, ("id",)).format == 2
    assert answered(tmp_path / "none.jsonl", ("id",)) == (2, set(), 0)


SEPARATORS = ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]


def test_only_a_line_feed_ends_a_line(trained: Path, tmp_path: Path, shell: Shell):
    """Previously an id with U+2028 or U+0085 was written, and then the file could not be read any more."""
    ids = [f"a{separator}b" for separator in SEPARATORS]
    ask = ("generate", trained, "--manifest", requests(tmp_path / "ask.jsonl", *ids), "--out", tmp_path / "out.jsonl")
    assert shell(*ask).code == 0
    assert shell(*ask, "--json").json["answered_before"] == len(ids)
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ids


@pytest.mark.parametrize(
    "content",
    [b"my notes", b"line\nmy notes", b"[1, 2]\n", b'{"id": 3}\n', b'{"id": "a"', b"\xff\xfe\n", b"null\n", b'"id"\n'],
)
def test_a_file_that_holds_something_else_is_left_as_it_is(content: bytes, tmp_path: Path, trained: Path, shell: Shell):
    """Previously whatever stood behind the last line feed was taken away before the file was looked at."""
    out = tmp_path / "out.jsonl"
    out.write_bytes(content)
    outcome = shell("generate", trained, "--manifest", requests(tmp_path / "ask.jsonl", "a"), "--out", out)
    if content.startswith(b'{"id": "a"'):  # an answer that was cut off: it is written again
        assert outcome.code == 0
        assert [row["id"] for row in read(out)] == ["a"]
        return
    assert outcome.code == 2
    assert "not an answer that plait wrote" in outcome.err
    assert out.read_bytes() == content


def test_an_answer_that_was_cut_off_is_written_again(trained: Path, tmp_path: Path, shell: Shell):
    ask = (
        "generate",
        trained,
        "--manifest",
        requests(tmp_path / "ask.jsonl", "a", "b"),
        "--out",
        tmp_path / "out.jsonl",
    )
    assert shell(*ask).code == 0
    whole = (tmp_path / "out.jsonl").read_bytes()
    for length in range(whole.index(b"\n") + 1, len(whole)):
        answered(tmp_path / "out.jsonl", ("answer",))
        if length % 40 == 0 or length == len(whole) - 1:
            (tmp_path / "out.jsonl").write_bytes(whole[:length])
            assert shell(*ask).code == 0
            assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_what_makes_a_choice_doubtful_is_said(trained: Path, shell: Shell):
    """Previously unknown words were answered with nothing, and nothing was said."""
    outcome = shell("generate", trained, "--text", "a", "--choices", "answer=purple,orange,,purple", "--json")
    assert outcome.json["segments"]["answer"] == "purple"
    assert outcome.json["tied"] == {"answer": ["purple", "orange"]}
    assert outcome.json["unknown"] == {"answer": ["purple", "orange"]}
    for said in (
        "an empty answer is left out",
        "more than once: 'purple'",
        "does not know",
        "cannot tell apart",
        "equally",
    ):
        assert said in outcome.err, said
    outcome = shell(
        "generate", trained, "--text", "a", "--choices", "answer=red", "--choices", "answer=green", "--json"
    )
    assert set(outcome.json["scores"]["answer"]) == {"red", "green"}
    assert "tied" not in outcome.json
    assert outcome.err.count("plait:") == outcome.err.count("cut at the limit")


def test_answers_that_reach_the_limit_are_counted(trained: Path, tmp_path: Path, shell: Shell):
    """Previously nothing told 27 cut answers of 46 from whole ones."""
    one = shell("generate", trained, "--text", "a", "--max-tokens", 1, "--json")
    cut = one.json.get("limited", [])
    assert cut == [segment for segment in ("heard", "answer") if f"{segment}: cut at the limit of 1 token;" in one.err]
    ask = requests(tmp_path / "ask.jsonl", "a", "b", "c")
    many = shell("generate", trained, "--manifest", ask, "--out", tmp_path / "out.jsonl", "--max-tokens", 1, "--json")
    assert cut
    assert many.json["limited"] == dict.fromkeys(cut, 3)
    assert f"{cut[0]}: 3 of 3 cut at the limit of 1 token;" in many.err
    assert all(row["limited"] == cut for row in read(tmp_path / "out.jsonl"))


def test_answers_of_another_model_are_not_taken_for_those_of_this_one(tmp_path: Path):
    """Previously, `generate --out` of a second run called every row of the first one's file answered, and wrote nothing."""
    out = write(tmp_path / "out.jsonl", as_row(Generated("7", {"heard": "a", "answer": "red"}, {}, {}), []))
    check_segments(out, ("answer", "heard"))
    check_segments(tmp_path / "none.jsonl", ("answer",))
    with pytest.raises(UserError, match=r"answers of another model, with the segments heard, answer and not target"):
        check_segments(out, ("target",))
    old = write(tmp_path / "old.jsonl", {"id": "7", "answer": "red"})
    check_segments(old, ("target",))


def test_a_request_without_any_input_is_said_to_have_none(trained: Path, shell: Shell):
    """Previously, a forgotten --image was answered like any other request."""
    assert "no input was given; the model reads" in shell("generate", trained).err
    assert "no input was given" not in shell("generate", trained, "--text", "a").err
