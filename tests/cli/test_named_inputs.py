"""Inputs with names of one's own, and a modality that is only registered, from init to generate."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Outcome, Shell

from melodies import Melody
from plait.config import read_config
from plait.modalities import MODALITIES, register
from tiny_data import COLOURS, draw

TINY = [
    "width=16",
    "train.steps=2",
    "train.batch_size=4",
    "train.dtype=fp32",
    "train.attention=math",
    "train.device=cpu",
]
NAMES = "type=image,values=image,question=text"


def rows_of(folder: Path, one: str = "type", other: str = "values", **more: Any) -> Path:
    """A manifest with two pictures and a question."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for i in range(24):
        colours = [list(COLOURS)[i % 4], list(COLOURS)[(i + 1) % 4]]
        files = [draw(folder / f"{name}{i}.png", colour) for name, colour in zip("ab", colours, strict=True)]
        row = {one: files[0], other: files[1], "question": f"what is new in {i % 3}", "target": colours[1]}
        split = "test" if i % 6 == 5 else "tune" if i % 6 == 4 else "train"
        rows.append({"id": f"row{i}", "split": split, **row, **more})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def right(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained run with the inputs `type`, `values` and `question`; beside it its data."""
    from plait.api import train
    from plait.cli.first import first_yaml, look

    folder = tmp_path_factory.mktemp("pair")
    inputs = {"type": "image", "values": "image", "question": "text"}
    config = folder / "run.yaml"
    config.write_text(first_yaml(look(rows_of(folder / "data"), inputs=inputs), config), encoding="utf-8")
    train(config, folder / "run", overrides=TINY)
    return folder / "run"


def test_init_writes_the_names_and_the_commands_that_use_them(tmp_path: Path, shell: Shell):
    manifest, out = rows_of(tmp_path / "data", "img_a", "seed"), tmp_path / "run.yaml"
    refused = shell("init", manifest, "--out", out)
    assert refused.code == 2
    named = ["--inputs", "before=image,seed=image,question=text", "--columns", "before=img_a"]
    made = right(shell("init", manifest, "--out", out, *named, "--json")).json
    data = read_config(out).data
    assert data.inputs == {"before": "image", "seed": "image", "question": "text"}
    assert data.columns == {"before": "img_a"}
    assert data.image.size == 32
    assert made["found"]["inputs"] == {"before": 24, "seed": 24, "question": 24}
    words = shlex.split(made["next"][-1])
    assert words[3] == "--before"
    assert words[5:7] == ["--input", f"seed={manifest.parent}/b5.png"]
    assert "--question" in words
    assert "{like: before}" in out.read_text(encoding="utf-8")
    checked = shell("data", "check", out, "data.split.shared=[before,seed]", "--json")
    assert right(checked).json["subsets"] == {"before + seed + question": {"train": 16, "tune": 4, "test": 4}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--inputs", "before=picture"], "--inputs: unknown modality 'picture' of the input before"),
        (["--inputs", "before=image,before=text"], "--inputs: 'before' is named twice"),
        (["--inputs", "be fore=image"], "'be fore' cannot name an input"),
        (
            ["--inputs", "before=image", "--columns", "befor=a"],
            "--columns: no input is called 'befor'. Did you mean 'before'?",
        ),
        (["--inputs", "before=image", "--columns", "before"], "--columns: 'before' names no field"),
        (
            ["--inputs", "photo=image,question=text"],
            "no row has a field 'photo'. Did you mean data.columns: {photo: image}?",
        ),
    ],
)
def test_names_that_are_none_are_one_message_in_init_and_in_data_check(
    words: list[str], told: str, tmp_path: Path, shell: Shell
):
    manifest = rows_of(tmp_path / "data", "image", "_other")
    for command in (["init", manifest, "--out", tmp_path / "run.yaml"], ["data", "check", manifest]):
        outcome = shell(*command, *words)
        assert outcome.code in (1, 2)
        assert told in outcome.out + outcome.err
    assert not (tmp_path / "run.yaml").exists()


def test_data_check_of_a_bare_manifest_takes_names(tmp_path: Path, shell: Shell):
    manifest = rows_of(tmp_path / "data", "img_a", "img_b")
    named = ["--inputs", "before=image,after=image,question=text", "--columns", "before=img_a,after=img_b"]
    found = shell("data", "check", manifest, *named, "--shared", "before", "--shared", "after", "--json").json
    assert {one["name"] for one in found["worst_batch"]} == {"before", "after", "question", "target"}


def test_an_input_is_given_by_its_name_in_every_way_alike(pair: Path, shell: Shell):
    one, other = pair.parent / "data" / "a0.png", pair.parent / "data" / "b0.png"
    asked = right(shell("generate", pair, "--type", one, f"--values={other}", "--question", "what is new", "--json"))
    again = ["--input", "question=what is new", "--input", f"values={other}", "--input", f"type={one}"]
    assert asked.json == right(shell("generate", *again, pair, "--json")).json
    assert asked.json["inputs"] == ["type", "values", "question"]
    fewer = right(shell("generate", "--type", one, pair, "--input", f"values={other}", "--inputs", "values", "--json"))
    assert fewer.json["inputs"] == ["values"]
    several = right(shell("generate", pair, "--type", one, "--type", other, "--json")).json
    assert several["segments"] != {}
    assert several["inputs"] == ["type"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--valus", "a.png"], "No such option: --valus. Did you mean --values?"),
        (["--temprature", "3"], "No such option: --temprature. Did you mean --temperature?"),
        (["--input", "typ=a.png"], "--input: this model has no input 'typ'. Did you mean 'type'?"),
        (["--input", "type"], "--input: 'type' has no '='"),
        (["--type"], "--type needs a value"),
        (["--type", "gone.png"], "gone.png: no such file"),
        (["--question", "a", "--question", "b"], "question"),
        (["--image", "a.png"], "this model does not read image. It reads type, values, question"),
        (["--inputs", "valus"], "--inputs: this model reads no input 'valus'. Did you mean 'values'?"),
        (["--manifest", "m", "--out", "o", "--type", "a.png"], "--manifest does not go with --input"),
    ],
)
def test_a_word_that_is_none_is_refused_with_the_nearest_right_one(
    words: list[str], told: str, pair: Path, shell: Shell
):
    outcome = shell("generate", pair, *words)
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.out == ""


def test_a_misspelt_flag_before_the_run_is_named(pair: Path, shell: Shell):
    outcome = shell("generate", "--streem", pair)
    assert outcome.code == 2
    assert "No such option: --streem. Did you mean --stream?" in outcome.err


def test_a_run_of_before_takes_its_inputs_by_name_too(trained: Path, shell: Shell):
    """Previously `inputs={"text": …}` was lost in the API, since the option of that name stood empty beside it."""
    words = ["which colour"]
    asked = right(shell("generate", trained, "--text", *words, "--json")).json
    assert asked["inputs"] == ["text"]
    assert right(shell("generate", trained, "--input", f"text={words[0]}", "--json")).json == asked


@pytest.fixture
def melody() -> Iterator[None]:
    """The modality of the tests, known for one test."""
    register(Melody())
    yield
    del MODALITIES["notes"]


@pytest.mark.usefixtures("melody")
@pytest.mark.parametrize("name", ["notes", "float"])
def test_a_modality_that_is_only_registered_goes_the_whole_way(name: str, tmp_path: Path, shell: Shell):
    rows = [{"id": f"r{i}", name: [60 + i % 5, 62, 64 + i % 3], "target": f"tune {i % 5}"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config, run = tmp_path / "run.yaml", tmp_path / "run"
    named = [] if name == "notes" else ["--inputs", f"{name}=notes"]
    made = right(shell("init", tmp_path / "rows.jsonl", "--out", config, *named, "--json")).json
    assert made["found"]["inputs"] == {name: 40}
    assert made["found"]["modalities"] == {name: "notes"}
    assert "{kind: notes}" in config.read_text(encoding="utf-8")
    assert right(shell("data", "check", config, "--json")).json["worst_batch"][0]["unit"] == "notes"
    right(shell("train", config, *TINY, "--out", run))
    asked = shlex.split(made["next"][-1])[3:]
    answer = right(shell("generate", run, *asked, "--json")).json
    assert answer["inputs"] == [name]
    assert answer == right(shell("generate", run, "--input", f"{name}={asked[1]}", "--json")).json
