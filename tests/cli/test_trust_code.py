"""Code of one's own is imported for a run only with --trust-code: attacks on every command and call that takes a run's folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cli_helpers import Shell
from safetensors.torch import load_file, save_file

import plait
import plait.trust
from plait.compare.compared import Settings
from plait.compare.existing import compare_existing
from plait.errors import UserError
from plait.run import Run, read_run_config
from tiny_data import make_manifest, tiny_tree

EVIL = """
from pathlib import Path
Path({mark!r}).write_text("this code was run")
from typing import Literal
from plait.fusion.concat import ConcatConfig

class MyConfig(ConcatConfig):
    kind: Literal[{kind!r}] = {kind!r}
"""
OWN = """
from typing import Literal
from plait.fusion.concat import ConcatConfig

class MyConfig(ConcatConfig):
    kind: Literal["own_parts:MyConfig"] = "own_parts:MyConfig"
"""


class Attack(NamedTuple):
    """A run that names code: where the command is given, the kind, its module, and the file that holds it (None: Python's)."""

    here: str
    kind: str
    file: str | None


ATTACKS = {
    "a module beside the run": Attack(".", "evil_beside:MyConfig", "evil_beside.py"),
    "a package beside the run": Attack(".", "evil_package:MyConfig", "evil_package/__init__.py"),
    "in the run, as a namespace package": Attack(".", "victim.evil_inside:MyConfig", "victim/evil_inside.py"),
    "the run is the working directory": Attack("victim", "evil_here:MyConfig", "victim/evil_here.py"),
    "a folder of the run is": Attack("victim/records", "evil_deep:MyConfig", "victim/records/evil_deep.py"),
    "inside a package": Attack(".", "evil_outer.inner:MyConfig", "evil_outer/inner.py"),
    "Python's own": Attack(".", "this:MyConfig", None),
}

COMMANDS: dict[str, list[str]] = {
    "evaluate": ["evaluate", "RUN"],
    "explain": ["explain", "RUN"],
    "explain a sample": ["explain", "RUN", "--sample", "row5"],
    "explain curves": ["explain", "RUN", "--curves", "--limit", "2"],
    "generate": ["generate", "RUN", "--text", "which colour"],
    "generate a manifest": ["generate", "RUN", "--manifest", "MANIFEST", "--out", "OUT.jsonl"],
    "search": ["search", "RUN", "red", "--in", "MANIFEST"],
    "resume": ["train", "--resume", "RUN"],
    "resume with an override": ["train", "--resume", "RUN", "train.steps=3"],
    "resume with one's own file": ["train", "--resume", "RUN", "CLEAN"],
    "train its file": ["train", "RUN/config.yaml", "--out", "OUT"],
    "start from it": ["train", "CLEAN", "encoders.start_from={image: RUN}", "--out", "OUT"],
    "compare it": ["compare", "--from", "RUN", "--folder", "OUT", "--no-baselines"],
    "compare its file": ["compare", "RUN/config.yaml", "--folder", "OUT"],
    "compare with its encoders": ["compare", "CLEAN", "--encoders-from", "RUN", "--folder", "OUT"],
    "fusions": ["fusions", "RUN/config.yaml"],
    "data check": ["data", "check", "RUN/config.yaml"],
}

CALLS: dict[str, Callable[[Path, Path], Any]] = {
    "load": lambda run, _: plait.load(run),
    "train, resume": lambda run, _: plait.train(None, run, resume=True),
    "train, its file": lambda run, out: plait.train(run / "config.yaml", out),
    "compare, its file": lambda run, out: plait.compare(run / "config.yaml", folder=out),
    "Run.load": lambda run, _: Run.load(run),
    "read_run_config": lambda run, _: read_run_config(run),
    "compare_existing": lambda run, out: compare_existing([run], Settings(out, (0,))),
}


class Place(NamedTuple):
    """A folder with data, a configuration of one's own, and a run that came from somewhere."""

    folder: Path
    run: Path
    clean: Path
    manifest: Path
    mark: Path

    def words(self, command: str) -> list[str]:
        """The words of a command."""
        names = {"RUN": self.run, "MANIFEST": self.manifest, "CLEAN": self.clean, "OUT": self.folder / "out"}
        words = COMMANDS[command]
        for name, path in names.items():
            words = [word.replace(name, str(path)) for word in words]
        return words

    def attack(self, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
        """The run names this code, which leaves a mark when it is run."""
        config = yaml.safe_load((self.run / "config.yaml").read_text(encoding="utf-8"))
        config["fusion"] |= {"kind": attack.kind}
        (self.run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        if attack.file is not None:
            file = self.folder / attack.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(EVIL.format(mark=str(self.mark), kind=attack.kind), encoding="utf-8")
            if "outer" in attack.kind:
                shutil.copy(file, file.parent / "__init__.py")
        here = self.folder / attack.here
        here.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(here)

    def is_refused(self, attack: Attack, message: str) -> None:
        """Nothing was run, and the message names the module and its file."""
        assert not self.mark.exists()
        assert f"module {attack.kind.partition(':')[0]}" in message
        assert (attack.file or "this.py") in message


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Made once, copied for each test."""
    folder = tmp_path_factory.mktemp("place").resolve()
    manifest, clean = make_manifest(folder / "data"), folder / "clean.yaml"
    clean.write_text(yaml.safe_dump(tiny_tree(manifest)), encoding="utf-8")
    plait.train(clean, folder / "victim", overrides=["train.alignment={segment: answer}"])
    plait.load(folder / "victim").evaluate()
    return Place(folder, folder / "victim", clean, manifest, folder / "mark")


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Iterator[Place]:
    """A place of the test's own; what it imported is forgotten afterwards."""
    folder, before, path = tmp_path.resolve(), set(sys.modules), list(sys.path)
    shutil.copytree(made.run, folder / "victim")
    shutil.copy(made.clean, folder / "clean.yaml")
    yield Place(folder, folder / "victim", folder / "clean.yaml", made.manifest, folder / "mark")
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith(("evil", "own", "victim")):
            del sys.modules[name]
            plait.trust._loaded.pop(name, None)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_command_runs_what_a_run_names(
    place: Place, shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, attack: str
):
    """Previously, `kind: module:Class` in a run's config.yaml was imported from the working directory, and from the
    run itself."""
    place.attack(ATTACKS[attack], monkeypatch)
    done = shell(*place.words(command))
    assert done.code == 2, done
    assert "Traceback" not in done.err
    place.is_refused(ATTACKS[attack], done.err)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_call_runs_what_a_run_names(place: Place, monkeypatch: pytest.MonkeyPatch, call: str, attack: str):
    place.attack(ATTACKS[attack], monkeypatch)
    with pytest.raises(UserError) as caught:
        CALLS[call](place.run, place.folder / "out")
    place.is_refused(ATTACKS[attack], str(caught.value))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_report_needs_no_code(place: Place, shell: Shell, monkeypatch: pytest.MonkeyPatch, attack: str):
    place.attack(ATTACKS[attack], monkeypatch)
    done = shell("report", place.run)
    assert done.code == 0, done
    assert not place.mark.exists()


@pytest.mark.parametrize("attack", [name for name in ATTACKS if "beside" not in name])
def test_what_lies_elsewhere_is_not_loaded_with_trust_either(
    place: Place, shell: Shell, monkeypatch: pytest.MonkeyPatch, attack: str
):
    place.attack(ATTACKS[attack], monkeypatch)
    done = shell("evaluate", place.run, "--trust-code")
    assert done.code == 2
    place.is_refused(ATTACKS[attack], done.err)


@pytest.mark.parametrize("attack", [name for name in ATTACKS if "beside" not in name])
def test_nor_for_a_configuration_of_ones_own(place: Place, shell: Shell, monkeypatch: pytest.MonkeyPatch, attack: str):
    """Previously, `kind: this:X` printed a poem, and any installed module could be named."""
    place.attack(ATTACKS[attack], monkeypatch)
    done = shell("train", place.clean, f"fusion.kind={ATTACKS[attack].kind}", "--out", place.folder / "out")
    assert done.code == 2
    place.is_refused(ATTACKS[attack], done.err)


# -- one's own code --


@pytest.fixture
def own(place: Place, monkeypatch: pytest.MonkeyPatch, shell: Shell) -> Place:
    """A run that was trained here with a part of one's own, by a configuration of one's own."""
    (place.folder / "own_parts.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(place.folder)
    tree = yaml.safe_load(place.clean.read_text(encoding="utf-8"))
    tree["fusion"] = {"kind": "own_parts:MyConfig"}
    tree["train"]["alignment"] = {"segment": "answer"}
    place.clean.write_text(yaml.safe_dump(tree), encoding="utf-8")
    shutil.rmtree(place.run)
    done = shell("train", place.clean, "--out", place.run)
    assert done.code == 0, done
    assert shell("evaluate", place.run, "--trust-code").code == 0
    return place


def forget() -> None:
    """As in a new process."""
    sys.modules.pop("own_parts", None)
    plait.trust._loaded.pop("own_parts", None)


@pytest.mark.slow
def test_with_trust_every_command_works(own: Place, shell: Shell):
    named = {
        "resume with one's own file",
        "start from it",
        "compare with its encoders",
    }  # these name the code themselves
    for command in COMMANDS:
        words = own.words(command)
        if command == "compare it":
            twin = own.folder / "twin"
            shutil.copytree(own.run, twin)
            text = (twin / "config.yaml").read_text(encoding="utf-8")
            (twin / "config.yaml").write_text(
                text.replace("learning_rate: 0.001", "learning_rate: 0.002"), encoding="utf-8"
            )
            words = [*words, str(twin), "--accept-changes"]
        words += ["--seeds", "1", "--explain", "1", "--price-seconds", "0.1"] * (words[0] == "compare")
        forget()
        if command not in named:
            assert shell(*words).code == 2, command
        done = shell(*words, *(["--trust-code"] if command not in named else []))
        assert done.code == 0 or (command == "data check" and "NOT OK" in done.out), (command, done)
        shutil.rmtree(own.folder / "out", ignore_errors=True)


def test_what_is_resumed_with_ones_own_file_is_trusted_while_the_code_is_the_same(own: Place, shell: Shell):
    forget()
    assert shell("train", "--resume", own.run).code == 2
    assert shell("train", "--resume", own.run, own.clean, "train.steps=3").code == 0
    (own.folder / "own_parts.py").write_text(OWN + "\nCHANGED = 1\n", encoding="utf-8")
    forget()
    done = shell("train", "--resume", own.run, own.clean, "train.steps=4")
    assert done.code == 2
    assert "own_parts" in done.err
    assert "is not the code that the run was trained with" in done.err
    assert shell("train", "--resume", own.run, own.clean, "train.steps=4", "--trust-code").code == 0


def test_a_run_notes_the_code_that_it_was_trained_with(own: Place):
    noted = json.loads((own.run / "environment.json").read_text(encoding="utf-8"))["code"]["own_parts"]
    import hashlib

    expected = hashlib.sha256((own.folder / "own_parts.py").read_bytes()).hexdigest()
    assert noted == {"file": str(own.folder / "own_parts.py"), "sha256": expected}


def test_the_report_names_the_flag(own: Place, shell: Shell):
    assert shell("report", own.run).code == 0
    assert "-again --trust-code" in (own.run / "report.html").read_text(encoding="utf-8")


def test_a_run_names_no_file_of_word_vectors_to_be_read(place: Place, shell: Shell):
    """Previously, a run whose weights lack the table had the file read that its configuration names: any path, also a pipe."""
    weights = load_file(place.run / "model.safetensors")
    del weights["encoders.input_text.embedding.table"]
    save_file(weights, place.run / "model.safetensors")
    config = yaml.safe_load((place.run / "config.yaml").read_text(encoding="utf-8"))
    os.mkfifo(place.folder / "vectors.txt")
    config["encoders"]["text"]["embedding"] = {"kind": "glove", "path": str(place.folder / "vectors.txt")}
    (place.run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = shell("evaluate", place.run, "--accept-changes")
    assert done.code == 2
    assert "the weights do not fit" in done.err


def test_in_python_as_well(own: Place):
    with pytest.raises(UserError, match=r"own_parts.*trust_code=True"):
        plait.load(own.run)
    model = plait.load(own.run, trust_code=True)
    assert model.generate(text="which colour", max_tokens=2).segments.keys() == {"heard", "answer"}
    assert model.options(beams=2).beams == 2  # the configuration is read again: the code is known by now


@pytest.mark.slow
def test_a_comparison_of_ones_own_goes_on_without_a_word(own: Place, shell: Shell):
    """Its processes load the same file for the runs that were trained here."""
    words = ["compare", own.clean, "--arms", "fusion.kind=own_parts:MyConfig,concat", "--folder", own.folder / "both"]
    words += ["--explain", "1", "--price-seconds", "0.2", "--no-baselines", "--jobs", "2", "--match", "none"]
    first = shell(*words, "--seeds", "1", "--json")
    assert first.code == 0, first
    assert {arm["name"]: arm["status"] for arm in first.json["arms"]} == {
        "own_parts:MyConfig": "done",
        "concat": "done",
    }
    assert [arm["reason"] for arm in first.json["arms"]] == ["", ""]
    forget()
    again = shell(*words, "--seeds", "2", "--json")
    assert again.code == 0, again
    assert [arm["status"] for arm in again.json["arms"]] == ["done", "done"]
    (own.folder / "own_parts.py").write_text(OWN + "\nCHANGED = 1\n", encoding="utf-8")
    forget()
    assert "is not the code that the run was trained with" in shell(*words, "--seeds", "2").err


# -- the working directory is a run that came from somewhere --

SHADOWS = (
    "rjieba",
    "jieba",
    "socket",
    "pickle",
    "yaml",
    "signal",
    "selectors",
    "matplotlib",
    "easy_vqa",
    "tensorboard",
)


AS_INSTALLED = ["-c", "import sys; sys.path.remove(''); from plait.cli import main; main()"]
"""As the script `plait` starts: with its own folder on the path, not the working directory."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "words"),
    [
        (["-m", "plait"], ["evaluate", ".", "--accept-changes"]),
        (
            AS_INSTALLED,
            ["compare", "../clean.yaml", "--folder", "../out"],
        ),
    ],
)
def test_no_module_of_the_working_directory_is_imported_by_chance(place: Place, start: list[str], words: list[str]):
    """Previously, the working directory stood on Python's path: a run could bring an `rjieba.py` for its tokenizer, or a
    `pickle.py` for the processes that read its data."""
    for name in SHADOWS:
        (place.run / f"{name}.py").write_text(
            f"from pathlib import Path\nPath({str(place.mark)!r}).write_text(__name__)\n", encoding="utf-8"
        )
    config = yaml.safe_load((place.run / "config.yaml").read_text(encoding="utf-8"))
    config["data"] |= {"tokenizer": {"kind": "word", "language": "zh"}, "workers": 1}
    (place.run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    few = [
        "--arms",
        "fusion.at=0,1",
        "--match",
        "none",
        "--no-baselines",
        "--seeds",
        "1",
        "--explain",
        "0",
        "--price-seconds",
        "0",
    ]
    words = [*words, *few] if words[0] == "compare" else words
    done = subprocess.run(
        [sys.executable, *start, *words], cwd=place.run, capture_output=True, timeout=120, check=False
    )
    assert not place.mark.exists(), place.mark.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
