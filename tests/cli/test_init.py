"""`plait init`: what it writes trains, and says what was found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_helpers import Shell

from plait.cli.first import Texts, first_yaml, look, tokenizer_for
from plait.config import read_config
from tiny_data import draw, make_folder, make_manifest

TINY = ["width=16", "train.steps=2", "train.batch_size=4", "train.dtype=fp32", "train.attention=math"]


def test_a_folder_of_media_is_trained_evaluated_and_asked(tmp_path: Path, shell: Shell):
    folder, config, run = make_folder(tmp_path / "media"), tmp_path / "first.yaml", tmp_path / "run"
    made = shell("init", folder, "--out", config, "--json", "--seed", 3, "--device", "cpu", "--threads", 1)
    assert made.code == 0, made.err
    assert made.json["found"]["inputs"] == {"image": 24, "audio": 24}
    assert made.json["settings"]["seed"] == 3
    assert made.json["settings"]["train"]["threads"] == 1
    assert "24 samples" in made.err
    trained = shell("train", config, *TINY, "train.matmul=highest", "--out", run, "--json")
    assert trained.code == 0, trained.err
    assert trained.json["steps"] == 2
    evaluated = shell("evaluate", run, "--json")
    assert evaluated.code == 0, evaluated.err
    assert "target" in evaluated.json["metrics"]
    answer = shell("generate", run, "--image", folder / "00.png", "--audio", folder / "00.wav", "--json")
    assert answer.code == 0, answer.err
    assert "target" in answer.json["segments"]


def test_every_line_of_the_yaml_says_what_else_could_stand_there(tmp_path: Path):
    text = first_yaml(look(make_manifest(tmp_path)), tmp_path / "run.yaml")
    bare = [line for line in text.splitlines() if line.strip() and "#" not in line and not line.endswith(":")]
    assert not bare


def test_the_written_settings_follow_from_the_data(tmp_path: Path):
    out = tmp_path / "conf" / "run.yaml"
    out.parent.mkdir()
    out.write_text(first_yaml(look(make_manifest(tmp_path / "data")), out), encoding="utf-8")
    config = read_config(out)
    assert Path(config.data.manifest) == tmp_path / "data" / "manifest.jsonl"
    assert list(config.data.inputs or ()) == ["text", "image", "audio"]
    assert config.data.segments == ("heard", "answer")
    assert config.data.image.size == 32
    assert config.data.audio.max_seconds == 1
    assert config.train.patience == 5
    assert config.train.modality_dropout == 0.1


def test_a_channel_is_proposed_where_two_would_cancel(tmp_path: Path):
    """Previously such recordings were trained on as silence, and nothing said so."""
    manifest = make_manifest(tmp_path / "data")
    out = tmp_path / "run.yaml"
    assert "channel" not in first_yaml(look(manifest), out)
    sounds = sorted((tmp_path / "data").rglob("*.wav"))
    for path in sounds[:3]:
        wave, rate = soundfile.read(path)
        soundfile.write(path, np.stack([wave, -wave], axis=1), rate)
    text = first_yaml(look(manifest), out)
    out.write_text(text, encoding="utf-8")
    assert read_config(out).data.audio.channel == "left"
    assert "left and right cancel each other in 3 of 3 stereo recordings" in text
    assert any("cancel each other in 3 of 3 stereo recordings" in line for line in look(manifest).lines())


def test_text_alone_is_next_word_prediction(tmp_path: Path):
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"target": f"one two {n}"}) + "\n" for n in range(40)), encoding="utf-8"
    )
    text = first_yaml(look(tmp_path / "texts.jsonl"), tmp_path / "run.yaml")
    assert "fusion" not in text
    assert "encoders" not in text
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path / "run.yaml").data.inputs == ()


def test_rows_that_cannot_be_used_are_told_and_listed_when_training(tmp_path: Path, shell: Shell):
    rows = [{"image": draw(tmp_path / f"{n}.png", "red"), "target": f"red {n}"} for n in range(20)]
    rows.append({"image": "gone.png", "target": "blue"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = shell("init", tmp_path / "rows.jsonl", "--out", tmp_path / "run.yaml")
    assert made.code == 0, made.err
    assert "gone.png" in made.out
    assert read_config(tmp_path / "run.yaml").data.on_error == "skip"


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path, shell: Shell):
    manifest, out = make_manifest(tmp_path), tmp_path / "run.yaml"
    out.write_text("mine", encoding="utf-8")
    refused = shell("init", manifest, "--out", out)
    assert refused.code == 2
    assert "--force" in refused.err
    assert out.read_text(encoding="utf-8") == "mine"
    assert shell("init", manifest, "--out", out, "--force").code == 0
    assert out.read_text(encoding="utf-8") != "mine"


@pytest.mark.parametrize("content", ["", "not json", '{"id": "a", "image": "x.png"}'])
def test_data_without_a_usable_row_is_refused(content: str, tmp_path: Path, shell: Shell):
    (tmp_path / "bad.jsonl").write_text(content, encoding="utf-8")
    refused = shell("init", tmp_path / "bad.jsonl", "--out", tmp_path / "run.yaml")
    assert refused.code == 2
    assert "bad.jsonl" in refused.err
    assert not (tmp_path / "run.yaml").exists()


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (Texts(5_000, 300, 0.01, 30_000, 0.0, 0.0, 10), {"kind": "word"}),
        (Texts(1_000, 600, 0.4, 6_000, 0.0, 0.0, 10), {"kind": "character"}),
        (Texts(90_000, 20_000, 0.2, 600_000, 0.0, 0.0, 10), {"kind": "bpe", "size": 4000}),
        (Texts(9_000, 2_000, 0.1, 12_000, 0.9, 0.0, 10), {"kind": "word", "language": "zh"}),
        (Texts(9_000, 2_000, 0.1, 12_000, 0.9, 0.4, 10), {"kind": "character"}),
    ],
)
def test_the_tokenizer_suits_the_texts(texts: Texts, kind: dict[str, object]):
    assert tokenizer_for(texts)[0] == kind


def test_steps_between_two_looks_are_whole_and_a_size_that_all_share_is_said_once(tmp_path: Path):
    rows = [{"image": f"{n % 4}.png", "target": f"word {n % 9}"} for n in range(300)]
    for n in range(4):
        draw(tmp_path / f"{n}.png", "red")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = look(tmp_path / "rows.jsonl")
    text = first_yaml(found, tmp_path / "run.yaml")
    assert re.search(r"evaluate_every: \d+ ", text)
    assert any(re.search(r"shorter side \d+ pixels$", line) for line in found.lines())


def test_a_manifest_of_another_name_in_a_folder_is_pointed_at(tmp_path: Path, shell: Shell):
    draw(tmp_path / "0.png", "red")
    (tmp_path / "rows.jsonl").write_text('{"image": "0.png", "target": "red"}\n', encoding="utf-8")
    made = shell("init", tmp_path, "--out", tmp_path / "run.yaml")
    assert made.code == 2
    assert f"{tmp_path}/rows.jsonl" in made.err
    assert "Give the file itself, or call it manifest.jsonl" in made.err


@pytest.mark.parametrize(
    ("grouped", "number", "said"), [(False, 60, ""), (True, 20, ""), (True, 3, "only 3 groups by speaker: ")]
)
def test_too_few_groups_to_test_on_are_said(grouped: bool, number: int, said: str, tmp_path: Path):
    rows: list[dict[str, object]] = [{"target": f"word {n}", "split": "test" if n < 60 else "train"} for n in range(90)]
    if grouped:
        rows = [row | {"group": {"speaker": str(n % number if n < 60 else n)}} for n, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = [line for line in look(tmp_path / "rows.jsonl").lines() if line.startswith("  test ")]
    assert [said in line for line in lines] == [True] * bool(said)
