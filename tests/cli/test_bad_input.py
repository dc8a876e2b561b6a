"""Mistakes at the command line: one clear message, the right exit code, no traceback, and nothing half-written."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from cli_helpers import Outcome, Shell

from plait.run import check_folder
from plait.train import Interrupted, NonFinite
from tiny_data import draw, make_manifest, sing, tiny_tree


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A trained run of one's own, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="session")
def reads_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads nothing but text."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("text")
    tree = tiny_tree(make_manifest(folder / "data"))
    tree["data"]["inputs"] = ["text"]
    fit(make_config(tree), folder / "run")
    return folder / "run"


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_refused(outcome: Outcome, *words: str, code: int = 2) -> None:
    """One message that holds all these words."""
    assert outcome.code == code, outcome
    assert outcome.err.startswith("plait: "), outcome.err
    assert outcome.err.count("plait: ") == 1
    assert "Traceback" not in outcome.out + outcome.err
    for word in words:
        assert word in outcome.err


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    """A manifest."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_yaml(path: Path, manifest: Path) -> Path:
    """The tiny configuration over a manifest."""
    path.write_text(yaml.safe_dump(tiny_tree(manifest)), encoding="utf-8")
    return path


# The run's folder


def test_a_folder_that_exists_is_not_written_over(run: Path, tiny_yaml: Path, shell: Shell):
    before = content(run)
    is_refused(shell("train", tiny_yaml, "--out", run), "exists already", f"--resume {run}")
    assert content(run) == before


def test_a_folder_that_is_no_run_is_not_written_into(tiny_yaml: Path, tmp_path: Path, shell: Shell):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    is_refused(shell("train", tiny_yaml, "--out", tmp_path / "mine"), "exists already and is not a run")
    is_refused(shell("evaluate", tmp_path / "mine"), "not a complete run", "config.yaml")
    is_refused(shell("evaluate", tmp_path / "nowhere"), "there is no run folder")
    first = tmp_path / "compared" / "runs" / "concat" / "seed-0"
    first.mkdir(parents=True)
    is_refused(shell("evaluate", tmp_path / "compared"), "is a comparison", f"such as {first}")
    assert content(tmp_path / "mine") == {"thesis.txt": b"years of work"}


def halve(path: Path) -> None:
    """Cut a file off in the middle."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    """A file of no bytes."""
    path.write_bytes(b"")


def other_kind(path: Path) -> None:
    """JSON, but not what stands there."""
    path.write_text("[1]", encoding="utf-8")


HALF_WRITTEN = [
    ("config.yaml", Path.unlink, "config.yaml is missing"),
    ("config.yaml", empty, "does not hold a mapping"),
    ("environment.json", Path.unlink, "environment.json is missing"),
    ("environment.json", halve, "half written"),
    ("environment.json", empty, "half written"),
    ("environment.json", other_kind, "half written"),
    ("tokenizer.json", Path.unlink, "tokenizer.json is missing"),
    ("tokenizer.json", halve, "not a tokenizer"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), HALF_WRITTEN)
def test_half_a_run_is_refused_by_every_command(
    name: str, spoil: Callable[[Path], None], message: str, run: Path, shell: Shell
):
    spoil(run / name)
    before = content(run)
    for words in (
        ["evaluate", run],
        ["generate", run, "--text", "which?"],
        ["train", "--resume", run],
        ["train", "--resume", run, "train.steps=4"],
    ):
        is_refused(shell(*words), message, name)
    assert content(run) == before


def test_weights_that_are_cut_off_or_gone(run: Path, shell: Shell):
    halve(run / "model.safetensors")
    is_refused(shell("evaluate", run), "model.safetensors", "damaged")
    (run / "model.safetensors").unlink()
    is_refused(shell("evaluate", run), "no trained weights yet", f"plait train --resume {run}")
    assert not (run / "records").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_a_checkpoint_that_is_cut_off(name: str, run: Path, shell: Shell):
    (checkpoint,) = (run / "training").iterdir()
    halve(checkpoint / name)
    before = content(run)
    is_refused(shell("train", "--resume", run, "train.steps=4"), name, "damaged")
    after = content(run)
    assert {key: after[key] for key in before if key != "config.yaml"} == {
        key: value for key, value in before.items() if key != "config.yaml"
    }


def test_no_checkpoint_to_go_on_from(run: Path, shell: Shell):
    shutil.rmtree(run / "training")
    is_refused(shell("train", "--resume", run), "no checkpoint to go on from")


def test_a_run_of_another_format(run: Path, shell: Shell):
    made = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    (run / "environment.json").write_text(json.dumps({**made, "format": 99, "plait": "9.1"}), encoding="utf-8")
    for words in (["evaluate", run], ["generate", run], ["train", "--resume", run]):
        is_refused(shell(*words), "run format 99 (plait 9.1)", "this plait reads formats up to 2")


def test_a_changed_configuration_is_told_key_by_key(run: Path, tmp_path: Path, shell: Shell):
    before = content(run)
    changed = ["train.learning_rate=0.5", "fusion.kind=product", "seed=4"]
    told = ["train.learning_rate: 0.001 → 0.5", "fusion.kind: 'concat' → 'product'", "seed: 0 → 4", "Put these back"]
    is_refused(shell("train", "--resume", run, *changed), *told)
    again = tmp_path / "again.yaml"
    again.write_text((run / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    is_refused(shell("train", again, "--resume", run, *changed), *told)
    assert content(run) == before


def test_a_tokenizer_of_another_size(run: Path, shell: Shell):
    tree = json.loads((run / "tokenizer.json").read_text(encoding="utf-8"))
    tree["model"]["vocab"]["unheard"] = max(tree["model"]["vocab"].values()) + 1
    (run / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    for words in (["evaluate", run], ["generate", run, "--text", "which?"], ["train", "--resume", run]):
        is_refused(shell(*words), "tokens, but the model was trained with", "Put back the tokenizer.json")


# The configuration


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fusion.kind=conact"], "unknown fusion kind 'conact'. Did you mean 'concat'?"),
        (["train.stepz=3"], "unknown key 'stepz'. Did you mean 'steps'?"),
        (["train.steps=many"], "train.steps"),
        (["steps 3"], "not an override"),
        (["fusion.at=7"], "place 7 does not exist"),
        (["fusion.kind=prefix", "fusion.align=mean"], "brings its own alignment"),
        (["train.ctc={segment: herd}"], "no segment 'herd'. Did you mean 'heard'?"),
        (["data.inputs=[text, video]"], "no row has video"),
        (["data.segments=[heard, anser]"], "no row has a segment 'anser'. Did you mean 'answer'?"),
        (["data.tokenizer={kind: bpe, size: 256}"], "tokenizer.size 256 is too small"),
        (["train.device=nowhere"], "cannot use the device 'nowhere'"),
        (["encoders.text.num_heads=3"], "encoders.text.num_heads"),
    ],
)
def test_a_mistake_in_the_configuration(
    overrides: list[str], message: str, tiny_yaml: Path, tmp_path: Path, shell: Shell
):
    is_refused(shell("train", tiny_yaml, *overrides, "--out", tmp_path / "run"), message)
    assert not (tmp_path / "run").exists()


def test_a_configuration_that_is_none(tmp_path: Path, shell: Shell):
    is_refused(shell("train", tmp_path / "none.yaml"), "no such file", "plait init")
    (tmp_path / "bad.yaml").write_text("data: {manifest: x\nwidth: 3", encoding="utf-8")
    is_refused(shell("train", tmp_path / "bad.yaml"), "bad.yaml:2", "not YAML")
    is_refused(shell("train"), "nothing says what to train")


# The manifest


def good_rows() -> list[dict[str, Any]]:
    """Rows of text alone."""
    target = {"heard": "a low tone.", "answer": "red"}
    return [
        {"id": f"row{n}", "split": split, "text": "which colour?", "target": target}
        for n, split in enumerate(["train", "train", "tune", "test"])
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imag": "a.png"}, "unknown field 'imag'. Did you mean 'image'?"),
        ({"image": "../outside.png"}, "outside the manifest's folder"),
        ({"image": "gone.png"}, "is missing"),
        ({"image": "empty.png"}, "is empty (0 bytes)"),
        ({"text": "a\0b"}, "NUL"),
        ({"target": None}, "no target"),
        ({"target": {"heard": "a"}}, "segments"),
        ({"id": "row0"}, "id 'row0' is already at"),
        ({"split": "exam"}, "exam"),
    ],
)
def test_a_row_that_cannot_be_used(change: dict[str, Any], message: str, trained: Path, tmp_path: Path, shell: Shell):
    folder = tmp_path / "data"
    folder.mkdir()
    draw(tmp_path / "outside.png", "red")
    (folder / "empty.png").write_bytes(b"")
    rows = good_rows()
    rows[1] |= change
    manifest = write_rows(folder / "rows.jsonl", *rows)
    config = write_yaml(tmp_path / "run.yaml", manifest)
    is_refused(shell("train", config, "--out", tmp_path / "run"), f"{manifest}:2", message)
    is_refused(shell("evaluate", trained, "--manifest", manifest), f"{manifest}:2", message)
    if "target" not in change:
        out = tmp_path / "answers.jsonl"
        is_refused(shell("generate", trained, "--manifest", manifest, "--out", out), f"{manifest}:2", message)
        assert not out.exists()
    assert not (tmp_path / "run").exists()


def test_a_manifest_that_is_none(trained: Path, tmp_path: Path, shell: Shell):
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text('{"target": "a"}\nnot json\n', encoding="utf-8")
    for name, message in (
        ("gone.jsonl", "the manifest is missing"),
        ("empty.jsonl", "is empty (0 bytes)"),
        ("bad.jsonl", "bad.jsonl:2: not JSON"),
    ):
        config = write_yaml(tmp_path / "run.yaml", tmp_path / name)
        is_refused(shell("train", config, "--out", tmp_path / "run"), message)
        is_refused(shell("evaluate", trained, "--manifest", tmp_path / name), message)
    is_refused(shell("data", "check", tmp_path / "gone.jsonl"), "the manifest is missing")
    assert not (tmp_path / "run").exists()


def test_no_row_in_a_split(trained: Path, tmp_path: Path, shell: Shell):
    rows = write_rows(tmp_path / "rows.jsonl", *[row for row in good_rows() if row["split"] == "tune"])
    is_refused(shell("evaluate", trained, "--manifest", rows), "no row in split 'test'", "There are tune: 1 rows")
    is_refused(shell("evaluate", trained, "--split", "exam"), "split 'exam' is unknown. Known: ", "train")
    config = write_yaml(tmp_path / "run.yaml", rows)
    is_refused(shell("train", config, "--out", tmp_path / "run"), "no row is in the split 'train'")
    assert not (tmp_path / "run").exists()


# Media


def cut_picture(path: Path) -> None:
    """A picture that ends in the middle."""
    draw(path, "red", side=64)
    halve(path)


def cut_sound(path: Path) -> None:
    """A recording that ends in the middle."""
    sing(path, "low")
    halve(path)


def no_number(path: Path) -> None:
    """A recording with a sample that is no number."""
    wave = np.zeros(4000, np.float32)
    wave[1600] = np.nan
    soundfile.write(path, wave, 16_000, subtype="FLOAT")


def no_sound(path: Path) -> None:
    """A recording of 0 s."""
    soundfile.write(path, np.zeros(0, np.float32), 16_000)


def too_long(path: Path) -> None:
    """A recording longer than the run takes."""
    soundfile.write(path, np.zeros(31 * 8_000, np.float32), 8_000)


def no_media(path: Path) -> None:
    """Words under a name of media."""
    path.write_text("these are words\n" * 20, encoding="utf-8")


MEDIA = [
    ("image", cut_picture, "a.png"),
    ("image", empty, "empty"),
    ("image", no_media, "a.png"),
    ("audio", cut_sound, "cut off"),
    ("audio", empty, "empty"),
    ("audio", no_number, "not a finite number at 0.100 s"),
    ("audio", no_sound, "0 seconds"),
    ("audio", too_long, "31.0 seconds"),
    ("audio", no_media, "cannot read the sound"),
]


@pytest.mark.parametrize(("modality", "write", "message"), MEDIA)
def test_media_that_cannot_be_used(
    modality: str, write: Callable[[Path], None], message: str, trained: Path, tmp_path: Path, shell: Shell
):
    path = tmp_path / ("a.png" if modality == "image" else "a.wav")
    write(path)
    is_refused(shell("generate", trained, f"--{modality}", path), path.name, message)
    rows = [*good_rows(), good_rows()[3] | {"id": "bad", modality: path.name}, good_rows()[0] | {"id": "worse"}]
    rows[5][modality] = path.name
    manifest = write_rows(tmp_path / "rows.jsonl", *rows)
    out = tmp_path / "answers.jsonl"
    is_refused(shell("generate", trained, "--manifest", manifest, "--out", out), f"{manifest}:5", message)
    assert not out.exists()
    is_refused(shell("evaluate", trained, "--manifest", manifest), f"{manifest}:5", message)
    config = write_yaml(tmp_path / "run.yaml", manifest)
    where = 5 if write is empty else 6  # no bytes are seen when the manifest is read, the rest when a batch is made
    is_refused(shell("train", config, "--out", tmp_path / "run"), f"{manifest}:{where}", message)
    assert not (tmp_path / "run").exists()


def test_a_bad_file_late_in_training_leaves_a_whole_run(tmp_path: Path, shell: Shell):
    manifest = make_manifest(tmp_path / "data")
    rows = manifest.read_text(encoding="utf-8").splitlines()
    draw(tmp_path / "data" / "0.png", "red", side=64)
    halve(tmp_path / "data" / "0.png")
    config = write_yaml(tmp_path / "run.yaml", manifest)
    outcome = shell("train", config, "train.batch_size=1", "train.steps=40", "--out", tmp_path / "run")
    is_refused(outcome, f"{manifest}:{[json.loads(row)['id'] for row in rows].index('row0') + 1}", "0.png")
    if (tmp_path / "run").exists():
        check_folder(tmp_path / "run")
        assert not list((tmp_path / "run").rglob("*.part"))


# One request


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--image", "gone.png"], ["gone.png: no such file"]),
        (["--image", "."], [".: is a folder", "Give the path of one file"]),
        (["--image", "/dev/zero"], ["/dev/zero: is not an ordinary file"]),
        (["--audio", "gone.wav"], ["gone.wav: no such file"]),
        (["--text", "a\0b"], ["text holds a NUL character (character 2)"]),
        (["--text", "a", "--begin", "a\0b"], ["NUL character at position 1"]),
        (["--text", "a", "--choices", "anser=red,blue"], ["no segment 'anser'", "This model says heard, answer"]),
        (["--text", "a", "--choices", "answer="], ["no answers to choose from for 'answer'"]),
        (["--text", "a", "--method", "gready"], ["generate.method", "greedy"]),
        (["--text", "a", "--temperature", "0"], ["generate.temperature"]),
        (["--text", "a", "--until", "noon"], ["generate.until"]),
        (["--text", "a", "--out", "answers.jsonl"], ["--out needs --manifest"]),
        (["--text", "a", "--stream", "--choices", "answer=red"], ["--stream does not go with --choices"]),
        (["--text", "a", "--stream", "--begin", "a"], ["--stream does not go with --begin"]),
        (["--text", "a", "--device", "nowhere"], ["cannot use the device 'nowhere'"]),
    ],
)
def test_a_request_that_cannot_be_answered(words: list[str], told: list[str], trained: Path, shell: Shell):
    outcome = shell("generate", trained, *words)
    is_refused(outcome, *told)
    assert outcome.out == ""


def test_a_modality_that_the_run_does_not_read(reads_text: Path, trained: Path, shell: Shell):
    picture = next((trained.parent / "data").glob("*.png"))
    is_refused(shell("generate", reads_text, "--image", picture), "this model does not read image. It reads text")
    outcome = shell("evaluate", reads_text, "--inputs", "text,image")
    is_refused(outcome, "--inputs: this model reads no input 'image'. Known: text")
    assert not (reads_text / "records").exists()


def test_inputs_that_are_no_modality(trained: Path, shell: Shell):
    is_refused(shell("evaluate", trained, "--inputs", "imgae"), "this model reads no input 'imgae'")
    is_refused(shell("evaluate", trained, "--device", "nowhere"), "cannot use the device 'nowhere'")


# A manifest of requests


def test_where_answers_can_not_be_written(trained: Path, tmp_path: Path, shell: Shell):
    manifest = write_rows(tmp_path / "rows.jsonl", *good_rows())
    before = content(tmp_path)
    ask = ["generate", trained, "--manifest", manifest]
    is_refused(shell(*ask), "--manifest needs --out")
    is_refused(shell(*ask, "--out", tmp_path), "cannot write", str(tmp_path))
    is_refused(shell(*ask, "--out", manifest), "is the manifest itself")
    is_refused(shell(*ask, "--out", tmp_path / "a.jsonl", "--choices", "anser=red"), "no segment 'anser'")
    is_refused(shell(*ask, "--out", tmp_path / "a.jsonl", "--text", "a"), "--manifest does not go with --text")
    assert content(tmp_path) == before
    other = tmp_path / "notes.jsonl"
    other.write_text("my notes\n", encoding="utf-8")
    is_refused(shell(*ask, "--out", other), f"{other}:1", "not an answer that plait wrote")
    assert other.read_text(encoding="utf-8") == "my notes\n"
    assert shell(*ask, "--out", tmp_path / "new" / "a.jsonl").code == 0
    assert len((tmp_path / "new" / "a.jsonl").read_text(encoding="utf-8").splitlines()) == 4


# Training that ends early


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Training that ends with this."""

    def fit(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("plait.train"), "fit", fit)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_the_exit_code(
    number: signal.Signals, code: int, tiny_yaml: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    failing(monkeypatch, Interrupted(Path("runs/tiny"), 3, number))
    outcome = shell("train", tiny_yaml, "--json")
    is_refused(outcome, f"stopped by {number.name} after step 3", "plait train --resume runs/tiny", code=code)
    assert outcome.json["exit_code"] == code


def test_a_second_ctrl_c_leaves_at_once(tiny_yaml: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    failing(monkeypatch, KeyboardInterrupt())
    is_refused(shell("train", tiny_yaml), "interrupted", code=130)


def test_a_loss_that_is_no_number_is_told(tiny_yaml: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    failing(monkeypatch, NonFinite("the loss is nan", step=3, ids=("row1", "row2")))
    outcome = shell("train", tiny_yaml, "--json")
    is_refused(outcome, "step 3: the loss is nan", "row1, row2", "train.learning_rate", code=1)
    assert outcome.json == {"error": outcome.err.removeprefix("plait: ").strip(), "exit_code": 1}


def test_a_learning_rate_that_breaks_the_model_leaves_a_whole_run(tiny_yaml: Path, tmp_path: Path, shell: Shell):
    run = tmp_path / "run"
    wild = ["train.learning_rate=1e38", "train.steps=9", "train.warmup=0", "train.clip=null"]
    is_refused(shell("train", tiny_yaml, *wild, "--out", run), "the model was not updated", "Samples: row", code=1)
    check_folder(run)
    assert not list(run.rglob("*.part"))
    is_refused(shell("evaluate", run), "no trained weights yet")


@pytest.mark.parametrize("words", [["evaluate", "nowhere"], ["generate", "nowhere"], ["train", "nowhere.yaml"]])
def test_a_mistake_is_an_object_for_programs(words: list[str], shell: Shell):
    outcome = shell(*words, "--json")
    is_refused(outcome, "nowhere")
    assert outcome.json == {"error": outcome.err.removeprefix("plait: ").strip(), "exit_code": 2}


def test_a_folder_is_no_configuration(tmp_path: Path, shell: Shell):
    is_refused(shell("train", tmp_path), f"{tmp_path}: is a folder", f"plait init {tmp_path}")


def test_axes_among_the_overrides_are_told_from_values(tiny_yaml: Path, shell: Shell):
    is_refused(
        shell("compare", tiny_yaml, "fusion.kind=concat,sum"), "An axis of arms is --arms fusion.kind=concat,sum"
    )


def test_a_configuration_beside_runs_to_compare_is_refused(trained: Path, tiny_yaml: Path, shell: Shell):
    is_refused(shell("compare", tiny_yaml, "--from", trained), str(tiny_yaml), "these runs are trained already")


def test_a_comparison_that_can_be_written_nowhere_is_refused(tiny_yaml: Path, tmp_path: Path, shell: Shell):
    (tmp_path / "file").write_text("", encoding="utf-8")
    words = ["--arms", "fusion.kind=concat,sum", "--folder", tmp_path / "file" / "below"]
    is_refused(shell("compare", tiny_yaml, *words), f"{tmp_path / 'file' / 'below'} cannot be made: Not a directory")
