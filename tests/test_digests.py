"""A run's files are those that Plait wrote, or the user is told: flipped bits, edited files, files of other runs, crashes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import plait
from plait.cli.app import run as command
from plait.config import make_config
from plait.errors import UserError
from plait.run import Run, accepted, checked_tensors, read_run_config
from plait.train import Quiet, fit
from plait.train.checkpoint import newest, read_state
from tiny_data import make_manifest, tiny_tree

MODEL, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.yaml"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 rows; not to be changed."""
    return make_manifest(tmp_path_factory.mktemp("data"))


def text_tree(manifest: Path, **train: object) -> dict:
    """The smallest run that reads texts only."""
    tree = tiny_tree(manifest)
    tree["data"]["inputs"] = ["text"]
    return {**tree, "train": {**tree["train"], "steps": 3, "checkpoint_every": 1, **train}}


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run; not to be changed."""
    return fit(make_config(text_tree(manifest)), tmp_path_factory.mktemp("runs") / "run").run.folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A run that may be changed."""
    return shutil.copytree(whole, tmp_path / "run")


def flip(path: Path, at: int) -> None:
    """One bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << (at % 8)
    path.write_bytes(data)


def flip_a_weight(run: Path) -> Path:
    flip(run / MODEL, -17)
    return run / MODEL


def exchange_two_ids(run: Path) -> Path:
    path = run / TOKENIZER
    tree = json.loads(path.read_text(encoding="utf-8"))
    words = tree["model"]["vocab"]
    words["red"], words["blue"] = words["blue"], words["red"]
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def edit_the_configuration(run: Path) -> Path:
    path = run / CONFIG
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("lowercase: true", "lowercase: false", 1), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    return path


def write_the_configuration_again(run: Path) -> Path:
    """By a program that knows no comments."""
    tree = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    tree["lm"]["num_heads"] = 1
    (run / CONFIG).write_text(yaml.safe_dump(tree), encoding="utf-8")
    return run / CONFIG


def save_the_weights_again(run: Path) -> Path:
    """By a program that knows no digests."""
    tensors = load_file(run / MODEL)
    name = sorted(tensors)[0]
    save_file({**tensors, name: tensors[name] + 1}, run / MODEL)
    return run / MODEL


CHANGES = [
    flip_a_weight,
    exchange_two_ids,
    edit_the_configuration,
    write_the_configuration_again,
    save_the_weights_again,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_refused_taken_on_demand_and_put_back(
    run: Path, change: Callable[[Path], Path], tmp_path: Path
):
    """Previously all of these loaded in silence: other answers, and nobody knew why."""
    kept = shutil.copytree(run, tmp_path / "kept")
    path = change(run)
    with pytest.raises(UserError, match=r"--accept-changes .*accept_changes=True") as caught:
        Run.load(run)
    assert caught.value.where == str(path)
    taken = Run.load(run, accept_changes=True)
    assert any(str(path) in note for note in taken.notes)
    assert Run.load(run).notes == ()
    written = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    (note,) = written["accepted"]
    assert note["file"] == path.name
    shutil.copy(kept / path.name, path)
    assert Run.load(run).notes == ()
    change(run)
    Run.load(run)
    second = tmp_path / "second"
    shutil.copytree(kept, second)
    assert accepted(second) == set()


def test_every_bit_counts(run: Path, tmp_path: Path):
    """A flipped bit anywhere in the weights is refused, or nothing of what is read is another."""
    tensors, size = load_file(run / MODEL), (run / MODEL).stat().st_size
    header = 8 + int.from_bytes((run / MODEL).read_bytes()[:8], "little")
    whole = (run / MODEL).read_bytes()
    places = [*range(0, header, 37), *range(header, size, size // 60)]
    for at in places:
        flip(run / MODEL, at)
        try:
            same = checked_tensors(run, run / MODEL)
        except UserError:
            pass
        else:
            assert same.keys() == tensors.keys()
            assert all(torch.equal(same[key], tensors[key]) for key in tensors), at
        (run / MODEL).write_bytes(whole)
    assert len(places) > 60


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, CONFIG])
def test_the_file_of_another_run_is_refused(run: Path, manifest: Path, name: str, tmp_path: Path):
    """Previously weights of another run with the same shapes loaded in silence."""
    tree = text_tree(manifest)
    tree |= {"seed": 1, "data": {**tree["data"], "tokenizer": {"kind": "word", "lowercase": False}}}
    other = fit(make_config(tree), tmp_path / "other").run.folder
    assert {k: v.shape for k, v in load_file(run / MODEL).items()} == {
        k: v.shape for k, v in load_file(other / MODEL).items()
    }
    shutil.copy(other / name, run / name)
    with pytest.raises(UserError, match=r"belongs to another run|was changed since the run was made"):
        Run.load(run)


def test_how_it_generates_and_is_evaluated_may_be_edited_and_is_said(run: Path, capsys: pytest.CaptureFixture[str]):
    text = (run / CONFIG).read_text(encoding="utf-8")
    (run / CONFIG).write_text(text.replace("max_tokens: 6", "max_tokens: 5"), encoding="utf-8")
    assert Run.load(run).config.generate.max_tokens == 5
    with pytest.warns(UserWarning, match=r"config\.yaml: was changed since plait wrote it \(generate\)"):
        plait.load(run)
    assert command(["generate", str(run), "--text", "which colour"]) == 0
    assert "config.yaml: was changed since plait wrote it (generate)" in capsys.readouterr().err
    assert command(["generate", str(run), "--text", "which colour", "--accept-changes"]) == 0
    capsys.readouterr()
    assert command(["generate", str(run), "--text", "which colour"]) == 0
    assert "was changed" not in capsys.readouterr().err


def test_layout_and_comments_do_not_count(run: Path):
    path = run / CONFIG
    text = path.read_text(encoding="utf-8")
    path.write_text("# mine\n\n" + text.replace("seed: 0", "seed:   0  # any"), encoding="utf-8")
    assert Run.load(run).notes == ()


@pytest.mark.parametrize("words", [["evaluate"], ["explain"], ["generate", "--text", "x"], ["train", "--resume"]])
def test_every_command_refuses_and_takes(run: Path, words: list[str], capsys: pytest.CaptureFixture[str]):
    edit_the_configuration(run)
    call = [*words, str(run)] if words[-1] == "--resume" else [words[0], str(run), *words[1:]]
    assert command(call) == 2
    assert "--accept-changes" in capsys.readouterr().err
    assert command([*call, "--accept-changes"]) == 0
    assert command(call) == 0


def test_a_comparison_refuses_and_takes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command(["evaluate", str(run)]) == 0
    edit_the_configuration(run)
    call = ["compare", "--from", str(run), "--folder", str(tmp_path / "c"), "--price-seconds", "0", "--explain", "0"]
    assert command(call) == 2
    assert "was changed since plait wrote it (data)" in capsys.readouterr().err
    assert command([*call, "--accept-changes"]) == 0


def test_a_report_says_that_the_configuration_is_another(run: Path, capsys: pytest.CaptureFixture[str]):
    edit_the_configuration(run)
    assert command(["report", str(run)]) == 0
    assert "missing: the configuration that the run was made with: config.yaml was changed" in capsys.readouterr().out


def test_the_place_of_the_data_may_be_edited(run: Path, tmp_path: Path):
    """Data and run move together; also by a program that knows no comments."""
    tree = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    tree["data"]["manifest"] = str(tmp_path / "elsewhere.jsonl")
    (run / CONFIG).write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert Run.load(run).notes == ()


def test_encoders_do_not_start_from_a_changed_run(run: Path, manifest: Path, tmp_path: Path):
    flip_a_weight(run)
    tree = text_tree(manifest)
    tree["encoders"] = {**tree["encoders"], "start_from": {"text": str(run)}}
    with pytest.raises(UserError, match="was changed or damaged"):
        fit(make_config(tree), tmp_path / "new")
    fit(make_config(tree), tmp_path / "new", accept_changes=True)


def test_a_run_that_only_may_be_read_is_taken_without_a_note(run: Path, monkeypatch: pytest.MonkeyPatch):
    flip_a_weight(run)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert "could not be noted" in Run.load(run, accept_changes=True).notes[0]
    with pytest.raises(UserError):
        Run.load(run)


@pytest.mark.parametrize("name", [MODEL, "optimiser.safetensors", "state.json"])
def test_a_changed_checkpoint_is_not_gone_on_with(run: Path, name: str):
    path = newest(run) / name
    if name == "state.json":
        path.write_text(
            path.read_text(encoding="utf-8").replace('"num_samples": 24', '"num_samples": 25'), encoding="utf-8"
        )
    else:
        flip(path, -5)
    with pytest.raises(UserError, match="was changed"):
        fit(None, run, resume=True)
    fit(None, run, resume=True, accept_changes=True)


def test_published_weights_that_were_damaged_are_published_again(run: Path):
    """They are those of the newest checkpoint, so nothing is lost."""
    state = read_state(run)
    good = (newest(run) / MODEL).read_bytes()
    assert state.published_step == state.step
    (run / MODEL).unlink()  # it shares its bytes with the checkpoint's file
    (run / MODEL).write_bytes(good)
    flip_a_weight(run)
    fit(None, run, resume=True)
    assert (run / MODEL).read_bytes() == good


def test_a_run_of_before_has_no_digests_and_loads(run: Path):
    """The first format knew none: nothing is asked of it until it is written anew, and what is written then is checked."""
    made = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    del made["run"], made["digests"]
    (run / "environment.json").write_text(json.dumps({**made, "format": 1}), encoding="utf-8")
    path = run / CONFIG
    path.write_text(
        "\n".join(line for line in path.read_text(encoding="utf-8").split("\n") if "# " not in line), encoding="utf-8"
    )
    for file in (run / MODEL, newest(run) / MODEL):
        tensors = load_file(file)
        with safe_open(file, "pt") as opened:
            noted = opened.metadata()
        save_file(tensors, file, {key: value for key, value in noted.items() if key not in ("digest", "run")})
    assert Run.load(run).identity == ""
    fit(make_config({**yaml.safe_load(path.read_text(encoding="utf-8"))}), run, resume=True)
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    fit(make_config({**tree, "train": {**tree["train"], "steps": 5}}), run, resume=True)
    Run.load(run)
    flip_a_weight(run)
    with pytest.raises(UserError, match="was changed or damaged"):
        Run.load(run)


class Killed(BaseException):
    """Stands in for SIGKILL before a rename."""


@pytest.mark.parametrize("what", ["train", "resume", "accept"])
def test_killed_before_any_rename_the_run_loads(
    manifest: Path, what: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Digests stand in what they cover: no crash can part them. What is left behind is not tidied up by the dying process."""
    number, real = 0, os.replace

    def act(folder: Path) -> None:
        if what == "train":
            fit(make_config(text_tree(manifest, steps=2)), folder)
        elif what == "resume":
            fit(make_config(text_tree(manifest, steps=4, log_every=3)), folder, resume=True)
        else:
            Run.load(folder, accept_changes=True)

    while True:
        number += 1
        folder, calls = tmp_path / f"{number}", 0
        if what != "train":
            shutil.copytree(whole, folder)
        if what == "accept":
            exchange_two_ids(folder)
            edit_the_configuration(folder)

        def dying(source: Path, target: Path, number: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                raise Killed
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying)
            patch.setattr("plait.writing.remove", lambda _: None)
            try:
                act(folder)
            except Killed:
                pass
            else:
                break
        if what == "accept":
            Run.load(folder, accept_changes=True)
            continue
        if folder.exists():
            Run.load(folder, weights=newest(folder) / MODEL)
            if (folder / MODEL).exists():
                Run.load(folder)
        act_again = make_config(text_tree(manifest, steps=3 if what == "train" else 4))
        fit(act_again, folder, resume=folder.exists())
        Run.load(folder)
    assert number > 2


def test_a_resumed_runs_configuration_is_its_own_again(run: Path):
    said: list[str] = []

    class Told(Quiet):
        def say(self, message: str) -> None:
            said.append(message)

    tree = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    tree["evaluate"]["batch_size"] = 3
    fit(make_config(tree), run, resume=True, progress=Told())
    assert "changed: evaluate.batch_size: 64 → 3" in said or any("evaluate.batch_size" in line for line in said)
    assert Run.load(run).notes == ()
    assert read_run_config(run).evaluate.batch_size == 3
