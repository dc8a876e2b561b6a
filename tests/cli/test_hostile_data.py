"""Data full of control characters, through every command: a terminal shows them and obeys none, and JSON keeps what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_helpers import Outcome, Shell

from plait.terminal import CONTROL
from tiny_data import make_manifest, tiny_tree

EVIL = "\x1b[31m\x9b2J\x07\x08\x7f\u202e"
"""Red, clear the screen, ring, go back, DEL, turn the direction."""


def spoilt(name: str) -> str:
    return f"{EVIL}{name}"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose ids, tags, groups, texts, answers, file names and folders hold control characters.

    One row cannot be read, and one cannot be used.
    """
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("hostile") / spoilt("work")
    manifest = make_manifest(folder / spoilt("data"))
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["split"] = ("test", "train", "tune")[number // 8 % 3]
        row["id"] = spoilt(row["id"])
        row["target"] = {"answer": spoilt(row["target"]["answer"])}
        row["tags"] = {spoilt("kind"): spoilt(("a", "b")[number % 2])}
        row["group"] = {spoilt("speaker"): spoilt(str(number))}
        if "text" in row:
            row["text"] = spoilt(row["text"])
        if "image" in row:
            (manifest.parent / row["image"]).rename(manifest.parent / spoilt(row["image"]))
            row["image"] = spoilt(row["image"])
    (manifest.parent / rows[0]["image"]).write_bytes(b"this is no picture")
    rows.append({"id": spoilt("gone"), "image": spoilt("gone.png"), "target": {"answer": "x"}})
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(manifest)
    tree["data"]["on_error"] = "skip"
    tree["data"]["tokenizer"] = {"kind": "character"}
    tree["train"] |= {"alignment": {"weight": 0.5}, "modality_dropout": 0.2}
    tree["evaluate"] = {"num_resamples": 100}
    fit(make_config(tree), folder / spoilt("run"))
    (folder / spoilt("run.yaml")).write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder


@pytest.fixture
def work(hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one's own."""
    folder = tmp_path / "w"
    shutil.copytree(hostile, folder)
    monkeypatch.chdir(folder)
    return folder


RUN, DATA, CONFIG = spoilt("run"), spoilt("data"), spoilt("run.yaml")
MANIFEST = f"{DATA}/manifest.jsonl"
COMMANDS: list[tuple[list[str], int]] = [
    (["evaluate", RUN], 0),
    (["evaluate", RUN, "--manifest", f"{DATA}/other.jsonl"], 0),
    (["evaluate", spoilt("nowhere")], 2),
    (["evaluate", RUN, "--split", spoilt("exam")], 2),
    (["evaluate", RUN, "--inputs", spoilt("smell")], 2),
    (["evaluate", RUN, spoilt("--nope")], 2),
    (["evaluate", RUN, f"--{EVIL}nope"], 2),
    (["explain", RUN], 0),
    (["explain", RUN, "--fail-if-unused", "text", "--fail-if-unused", "image"], 1),
    (["explain", RUN, "--sample", spoilt("row2")], 0),
    (["explain", RUN, "--sample", spoilt("row99")], 2),
    (["explain", RUN, "--curves", "--limit", "2"], 0),
    (["report", RUN], 0),
    (["report", spoilt("nowhere")], 2),
    (["search", RUN, spoilt("red"), "--in", MANIFEST], 0),
    (["search", RUN, "--text", spoilt("red"), "--in", MANIFEST, "--of", spoilt("smell")], 2),
    (["generate", RUN, "--text", spoilt("hi"), "--stream"], 0),
    (["generate", RUN, "--text", spoilt("hi"), "--top", "9"], 0),
    (["generate", RUN, "--text", "hi", "--choices", f"answer={spoilt('red')},{spoilt('blue')}"], 0),
    (["generate", RUN, "--text", "hi", "--choices", f"{spoilt('nope')}=red"], 2),
    (["generate", RUN, "--image", spoilt("gone.png")], 2),
    (["generate", RUN, "--manifest", MANIFEST, "--out", spoilt("answers.jsonl")], 0),
    (["train", CONFIG, "--out", spoilt("new")], 0),
    (["train", CONFIG, f"train.{EVIL}steps=3"], 2),
    (["train", spoilt("nowhere.yaml")], 2),
    (["train", "--resume", RUN], 0),
    (["data", "check", MANIFEST], 1),
    (["init", MANIFEST, "--out", spoilt("first.yaml")], 0),
    (["fusions", CONFIG], 0),
    (["fusions", spoilt("nowhere.yaml")], 2),
    (["compare", CONFIG, "--arms", f"fusion.{EVIL}kind=sum,concat"], 2),
    (["compare", "--from", RUN, "--from", spoilt("nowhere")], 2),
    (["cache", spoilt("0123")], 2),
    (["schema", "--out", spoilt("schema.json")], 0),
    (["lab", "--tasks", spoilt("xor"), "--folder", spoilt("lab")], 2),
    (["demo", "--out", RUN, spoilt("nope=1")], 2),
    ([spoilt("command")], 2),
]


def is_harmless(outcome: Outcome) -> None:
    assert not CONTROL.findall(outcome.out + outcome.err), repr(outcome)


@pytest.mark.parametrize(("words", "code"), COMMANDS, ids=[" ".join(words).replace(EVIL, "!") for words, _ in COMMANDS])
def test_no_command_lets_data_speak_to_the_terminal(
    words: list[str], code: int, work: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    """Previously, ids, tags, segments, answers, file names and messages were printed with their escape sequences."""
    shutil.copy(work / MANIFEST, work / DATA / "other.jsonl")
    monkeypatch.setattr("plait.cli.demo.cache_folder", lambda: work / "none")
    monkeypatch.setattr("plait.demo.make.make_demo_data", no_demo)
    outcome = shell(*words)
    assert outcome.code == code, outcome
    is_harmless(outcome)
    if EVIL in "".join(words) and code == 2:
        assert "\\x1b[31m" in outcome.err
    as_json = shell(*words, *(["--json"] if "--force" not in words else []))
    is_harmless(as_json)
    for line in filter(None, as_json.out.splitlines()):
        json.loads(line)


def no_demo(*_: Any, **__: Any) -> None:
    from plait.errors import UserError

    raise UserError(f"no demo: {EVIL}")


def test_json_and_files_keep_what_the_data_hold(work: Path, shell: Shell):
    answers = shell("generate", RUN, "--text", spoilt("hi"), "--json").json
    assert set(answers["segments"]) == {"answer"}
    found = shell("search", RUN, spoilt("red"), "--in", MANIFEST, "--json").json
    ids = {id for side in found["sides"].values() for hit in side["hits"] for id in hit["ids"]}
    assert all(id.startswith(EVIL) for id in ids)
    shell("generate", RUN, "--manifest", MANIFEST, "--out", "answers.jsonl")
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert all(row["id"].startswith(EVIL) for row in rows)


def test_a_comparison_of_hostile_arms(work: Path, shell: Shell):
    """Names of arms, the progress lines and the tables of a comparison."""
    arms = work / "arms.yaml"
    arms.write_text(yaml.safe_dump({spoilt("small"): {"fusion.kind": "sum"}}), encoding="utf-8")
    words = ["compare", CONFIG, "--arms", str(arms), "--seeds", "1", "--price-seconds", "0"]
    outcome = shell(*words, "--no-baselines", "--explain", "0", "--jobs", "1", "--folder", spoilt("compared"))
    is_harmless(outcome)
