"""`--inputs`: one model with any subset of its modalities, and the answer says what it used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import Shell


@pytest.mark.parametrize(("inputs", "used"), [("text", ["text"]), ("none", []), ("image,text", ["text", "image"])])
def test_a_request_is_answered_with_the_named_inputs_only(shell: Shell, trained: Path, inputs: str, used: list[str]):
    picture = trained.parent / "data" / "0.png"
    both = ["--text", "which colour", "--image", picture]
    found = shell("generate", trained, *both, "--inputs", inputs, "--json").json
    assert found["inputs"] == used
    fewer = [*(both[:2] if "text" in used else []), *(both[2:] if "image" in used else [])]
    assert found == shell("generate", trained, *fewer, "--json").json


def test_every_row_says_what_was_used(shell: Shell, trained: Path, tmp_path: Path):
    manifest = trained.parent / "data" / "manifest.jsonl"
    out = tmp_path / "answers.jsonl"
    assert shell("generate", trained, "--manifest", manifest, "--out", out, "--inputs", "image").code == 0
    rows = {row["id"]: row for row in map(json.loads, manifest.read_text(encoding="utf-8").splitlines())}
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {row["id"] for row in answers} == set(rows)
    assert all(row["inputs"] == (["image"] if rows[row["id"]].get("image") else []) for row in answers)


def test_an_unknown_modality_is_named(shell: Shell, trained: Path):
    outcome = shell("generate", trained, "--text", "which colour", "--inputs", "imag")
    assert outcome.code == 2
    assert "'imag'" in outcome.err
    assert "'image'" in outcome.err
