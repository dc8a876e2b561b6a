"""The whole training: what it writes, how it stops, and that a resumed run equals one that was never stopped, bit for bit."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import tiny_config, write_manifest

from plait.config import GenerateConfig, config_yaml, read_config
from plait.errors import UserError
from plait.layers import Attention
from plait.run import Run, read_metadata, read_run_config
from plait.train import checkpoint as checkpoint_module
from plait.train import loop as loop_module
from plait.train.checkpoint import checkpoints, newest, read_state
from plait.train.fit import fit
from plait.train.heldout import held_out
from plait.train.lock import locked
from plait.train.metrics import read_metrics
from plait.train.progress import Quiet
from plait.train.signals import Interrupted
from plait.train.step import NonFinite
from plait.types import IGNORED

fit_module = sys.modules["plait.train.fit"]  # its package shows the function of the same name

TIMES = ("seconds", "samples_per_second", "evaluation_seconds")


class Killed(BaseException):
    """Stands in for a crash at a chosen step."""


class At(Quiet):
    """Does something after a step."""

    def __init__(self, step: int, action) -> None:
        self.step, self.action, self.said = step, action, []

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        if step == self.step:
            self.action()

    def say(self, message: str) -> None:
        self.said.append(message)


def crash():
    """Die without a chance to save."""
    raise Killed


def lines(folder: Path):
    """The metrics without what a clock says."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder)]


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, optimiser, state, best weights and metrics are equal."""
    first, second = newest(one), newest(other)
    assert first.name == second.name
    for name in ("model.safetensors", "optimiser.safetensors"):
        a, b = load_file(first / name), load_file(second / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert lines(one) == lines(other)
    assert [step for step in (line["step"] for line in lines(one)) if step] == sorted(
        line["step"] for line in lines(one)
    )
    a, b = (json.loads((folder / "state.json").read_text(encoding="utf-8")) for folder in (first, second))
    for state in (a, b):
        del state["seconds"], state["metrics_bytes"]
    assert a == b


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """The tiny run, never stopped."""
    folder = tmp_path_factory.mktemp("straight")
    fit(tiny_config(write_manifest(folder)), folder / "run")
    return folder / "run"


def test_a_run_is_whole_and_can_be_moved(config, tmp_path):
    run, result = fit(config(steps=30, evaluate_every=10, learning_rate=1e-2), tmp_path / "run")
    found = {p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")}
    assert found == {
        "config.yaml",
        "tokenizer.json",
        "model.safetensors",
        "environment.json",
        "metrics.jsonl",
        "training",
    }
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    (tmp_path / "run").rename(moved)
    (tmp_path / "manifest.jsonl").unlink()
    again = Run.load(moved)
    assert again.segments == ("first", "said")
    assert list(again.modalities) == ["text"]
    assert again.config == run.config
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))
    tune = [line for line in read_metrics(moved) if "tune" in line]
    assert [line["step"] for line in tune] == [10, 20, 30]
    assert tune[-1]["tune"]["bits"] < tune[0]["tune"]["bits"]
    assert set(tune[0]["tune"]) == {"bits", "first", "said"}
    assert result.best_bits == min(line["tune"]["bits"] for line in tune)
    assert read_metadata(moved / "model.safetensors")["step"] == str(result.best_step)
    environment = json.loads((moved / "environment.json").read_text(encoding="utf-8"))
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["seed"] == 0


def test_the_best_weights_are_shown_and_the_last_are_kept(config, tmp_path, monkeypatch):
    """The held-out loss is made to rise after step 4; patience 2 then ends the training at step 12."""
    real = loop_module.held_out

    def rising(model, *words, **named):
        found = real(model, *words, **named)
        return found._replace(bits=float(read_calls.append(1) or len(read_calls)))

    read_calls: list[int] = []
    monkeypatch.setattr(loop_module, "held_out", rising)
    progress = At(0, crash)
    _, result = fit(config(steps=40, patience=2), tmp_path / "run", progress=progress)
    assert result.stopped_early
    assert (result.step, result.best_step, result.best_bits) == (12, 4, 1.0)
    assert read_metadata(tmp_path / "run" / "model.safetensors")["step"] == "4"
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000012"]
    assert any("stopped early" in line for line in progress.said)
    _, again = fit(None, tmp_path / "run", resume=True)
    assert again.step == 12


def test_without_held_out_rows_the_last_weights_are_shown(config, tmp_path, manifest):
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    manifest.write_text("".join(json.dumps({**row, "split": "train"}) + "\n" for row in rows), encoding="utf-8")
    progress = At(0, crash)
    _, result = fit(config(steps=5), tmp_path / "run", progress=progress)
    assert result.best_step is None
    assert read_metadata(tmp_path / "run" / "model.safetensors")["step"] == "5"
    assert any("nothing is held out" in line for line in progress.said)


@pytest.mark.parametrize("step", [1, 5, 8, 9])
def test_train_10_equals_train_some_crash_resume(config, tmp_path, straight, step):
    with pytest.raises(Killed):
        fit(config(), tmp_path / "crashed", progress=At(step, crash))
    fit(config(), tmp_path / "crashed", resume=True)
    assert_same_run(straight, tmp_path / "crashed")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_resume_is_exact_with_loader_workers_and_micro_batches(config, tmp_path, optimiser):
    settings = {"micro_batch_size": 3, "steps": 8, "optimiser": optimiser}
    fit(config(**settings), tmp_path / "straight")
    workers = {"workers": 2}
    with pytest.raises(Killed):
        fit(config(workers, **settings), tmp_path / "crashed", progress=At(5, crash))
    fit(config(workers, **settings), tmp_path / "crashed", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "crashed")


def test_resume_is_exact_with_links_between_the_sides(config, tmp_path):
    settings = {"micro_batch_size": 5, "steps": 8, "alignment": {"weight": 0.5, "segment": "first"}}
    fit(config(**settings), tmp_path / "straight")
    with pytest.raises(Killed):
        fit(config(**settings), tmp_path / "crashed", progress=At(5, crash))
    fit(config(**settings), tmp_path / "crashed", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "crashed")
    weights = load_file(tmp_path / "crashed" / "model.safetensors")
    assert float(weights["links.log_scale"]) != pytest.approx(-math.log(0.07), abs=1e-6)
    assert Run.load(tmp_path / "crashed").model.links is not None


CHILD = """
import os, random, signal, sys, threading
import torch
torch.set_num_threads(1)
from pathlib import Path
from plait.config import read_config
from plait.train.checkpoint import read_state
from plait.train.fit import fit
from plait.train.lock import locked
from plait.train.progress import Quiet

class Deadly(Quiet):
    "At a random step, SIGKILL after a random part of a second: in a step, an evaluation or a save."
    def update(self, step, *, bits, num_samples):
        if step == at:
            threading.Timer(draw.random() * 0.08, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()

draw = random.Random(int(sys.argv[3]))
folder = Path(sys.argv[2])
at = (read_state(folder).step if folder.exists() else 0) + draw.randint(1, 9)
fit(read_config(Path(sys.argv[1]), []), folder, resume=folder.exists(), progress=Deadly())
"""


def assert_killed(words: list[str], printed: Path, name: str) -> None:
    """The process ends by SIGKILL. What it prints goes to a file: a pipe would stay open as long as any of its workers."""
    with printed.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)
        try:
            code = child.wait(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    assert code == -signal.SIGKILL, f"{name}: {printed.read_text(encoding='utf-8')}"


@pytest.mark.slow
def test_killed_at_random_instants_and_resumed_equals_never_killed(config, tmp_path):
    """SIGKILL to the process itself, workers included, again and again until a try gets through."""
    settings = config({"workers": 1}, steps=40, evaluate_every=5, checkpoint_every=2, log_every=3)
    (tmp_path / "config.yaml").write_text(config_yaml(settings), encoding="utf-8")
    fit(settings, tmp_path / "straight")
    first_seed = random.SystemRandom().randrange(10**6)
    for seed in range(first_seed, first_seed + 3):
        words = [sys.executable, "-c", CHILD, str(tmp_path / "config.yaml"), str(tmp_path / "killed"), str(seed)]
        assert_killed(words, tmp_path / "printed", f"seed {seed}")
        if (tmp_path / "killed").exists():
            Run.load(tmp_path / "killed", weights=newest(tmp_path / "killed") / "model.safetensors")
    fit(None, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(config, tmp_path, straight, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"stopped by SIG.* after step 6; everything is saved.*--resume") as caught:
        fit(config(checkpoint_every="1h"), tmp_path / "run", progress=At(6, lambda: os.kill(os.getpid(), number)))
    assert caught.value.exit_code == 128 + number
    assert read_state(tmp_path / "run").step == 6
    assert signal.getsignal(number) == before
    fit(config(checkpoint_every="1h"), tmp_path / "run", resume=True)
    assert_same_run(straight, tmp_path / "run")


INTERRUPTED = """
import sys, os, signal
import torch
torch.set_num_threads(1)
from pathlib import Path
from plait.config import read_config
from plait.train import Interrupted, Quiet, fit

class Loud(Quiet):
    "Ctrl-C at a terminal goes to the whole process group, the loader's workers included."
    def update(self, step, *, bits, num_samples):
        if step == 6:
            os.killpg(0, signal.SIGINT)

try:
    fit(read_config(Path(sys.argv[1])), Path(sys.argv[2]), progress=Loud())
except Interrupted as stop:
    print(stop.step, stop.exit_code)
    sys.exit(stop.exit_code)
"""


@pytest.mark.slow
def test_ctrl_c_at_a_terminal_with_loader_workers(config, tmp_path, straight):
    (tmp_path / "config.yaml").write_text(config_yaml(config({"workers": 2}, checkpoint_every="1h")), encoding="utf-8")
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "config.yaml"), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "6 130\n", "")
    fit(None, tmp_path / "run", resume=True)
    assert_same_run(straight, tmp_path / "run")


def test_a_signal_while_waiting_for_a_batch_saves_the_last_step(config, tmp_path, straight, monkeypatch):
    """Ctrl-C reaches the loader's workers too; their death must not be taken for an error."""
    from plait.data.loader import Loader

    real = Loader.batches

    def batches(self, *words):
        for count, pair in enumerate(real(self, *words)):
            if count == 4 and self.training and armed:
                os.kill(os.getpid(), signal.SIGINT)
                raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")
            yield pair

    armed = [1]
    monkeypatch.setattr(Loader, "batches", batches)
    with pytest.raises(Interrupted, match="after step 4"):
        fit(config(checkpoint_every=50), tmp_path / "run")
    armed.clear()
    fit(None, tmp_path / "run", resume=True)
    assert_same_run(straight, tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoint(config, tmp_path):
    with pytest.raises(NonFinite, match=r"step \d+: the loss is nan.*row"):
        fit(config(steps=200, learning_rate=1e30, clip=None, checkpoint_every=1), tmp_path / "run")
    state = read_state(tmp_path / "run")
    weights = load_file(newest(tmp_path / "run") / "model.safetensors")
    assert state.step >= 1
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_full_disk_while_saving_keeps_the_previous_checkpoint(config, tmp_path, straight, monkeypatch):
    real = checkpoint_module.save_tensors

    def fail(tensors, path, metadata):
        if metadata.get("step") == "6":
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata)

    monkeypatch.setattr(checkpoint_module, "save_tensors", fail)
    with pytest.raises(UserError, match=r"cannot write step-00000006: No space left.*Make room on the disk.*--resume"):
        fit(config(), tmp_path / "run")
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000004"]
    monkeypatch.undo()
    fit(config(), tmp_path / "run", resume=True)
    assert_same_run(straight, tmp_path / "run")


def test_a_crash_between_checkpoint_and_publication_is_mended(config, tmp_path, straight, monkeypatch):
    def die(*_):
        raise Killed

    monkeypatch.setattr(checkpoint_module, "publish", die)
    with pytest.raises(Killed):
        fit(config(), tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(checkpoint_module, "publish", checkpoint_module.publish)
    run = tmp_path / "run"
    if not run.exists():  # it died in the first checkpoint, before the folder had its name
        fit(config(), run)
    else:
        fit(config(), run, resume=True)
    assert_same_run(straight, run)


def test_memory_that_runs_short_is_remembered_over_a_resume(config, tmp_path, monkeypatch):
    from plait.model import Model

    real = Model.forward

    def scarce(self, batch, ask):
        if len(batch) > 4 and torch.is_grad_enabled():
            raise MemoryError
        return real(self, batch, ask)

    monkeypatch.setattr(Model, "forward", scarce)
    fit(config(micro_batch_size=4), tmp_path / "small")
    progress = At(5, crash)
    with pytest.raises(Killed):
        fit(config(), tmp_path / "halved", progress=progress)
    assert sum("out of memory" in line for line in progress.said) == 1
    assert read_state(tmp_path / "halved").micro_batch_size == 4
    fit(config(), tmp_path / "halved", resume=True)
    a, b = (load_file(newest(tmp_path / n) / "model.safetensors") for n in ("small", "halved"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_held_out_bits_are_the_mean_over_tokens(tiny, batch_of):
    batches = [batch_of(5, seed=1), batch_of(3, seed=2)]
    found = held_out(tiny, batches, ["a", "b"], dtype="fp32", micro_batch_size=2)
    losses: dict[int, list[float]] = {0: [], 1: []}
    for batch in batches:
        for row, loss in enumerate(tiny.token_losses(batch).detach()):
            for place in range(batch.targets.shape[1]):
                if batch.targets[row, place] != IGNORED:
                    losses[int(batch.segments[row, place])].append(float(loss[place]) / math.log(2))
    everything = losses[0] + losses[1]
    assert found.num_tokens == len(everything)
    assert found.bits == pytest.approx(sum(everything) / len(everything), rel=1e-5)
    assert found.by_segment["b"] == pytest.approx(sum(losses[1]) / len(losses[1]), rel=1e-5)


def test_evaluation_by_a_callable_is_written_down_and_changes_nothing(config, tmp_path, straight):
    def accuracy(run):
        run.model.eval()
        torch.rand(3)
        return {"accuracy": 0.5}

    fit(config(), tmp_path / "with", evaluate=accuracy)
    found = [line["evaluation"] for line in read_metrics(tmp_path / "with") if "evaluation" in line]
    assert found == [{"accuracy": 0.5}] * 3
    a, b = (load_file(newest(run) / "model.safetensors") for run in (straight, tmp_path / "with"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_tensorboard_gets_the_same_figures(config, tmp_path):
    pytest.importorskip("tensorboard")
    fit(config(tensorboard=True), tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    expected = [line["bits"] for line in read_metrics(tmp_path / "run") if "bits" in line]
    assert [event.value for event in events.Scalars("bits")] == pytest.approx(expected)
    assert "tune/said" in events.Tags()["scalars"]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config, tmp_path, straight):
    fit(config(), tmp_path / "again")
    fit(config(seed=1), tmp_path / "other")
    assert_same_run(straight, tmp_path / "again")
    a, c = (load_file(newest(run) / "model.safetensors") for run in (straight, tmp_path / "other"))
    assert not all(torch.equal(a[key], c[key]) for key in a)


# --- refusals -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_exists_is_refused_before_anything_is_read(config, tmp_path):
    fit(config(steps=1), tmp_path / "run")
    with pytest.raises(UserError, match=r"exists already\. Go on with it"):
        fit(config(steps=1), tmp_path / "run")


def test_resuming_what_is_not_there_is_refused(config, tmp_path):
    with pytest.raises(UserError, match="there is no run folder"):
        fit(config(), tmp_path / "run", resume=True)
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match=r"not a complete run: config\.yaml"):
        fit(config(), tmp_path / "notes", resume=True)
    with pytest.raises(UserError, match="nothing says what to train"):
        fit(None, tmp_path / "run")


def test_a_changed_configuration_is_refused_with_every_change(config, tmp_path):
    fit(config(steps=2), tmp_path / "run")
    with pytest.raises(UserError) as caught:
        fit(config(steps=9, learning_rate=0.5, betas=(0.8, 0.9), seed=4), tmp_path / "run", resume=True)
    message = str(caught.value)
    assert "train.learning_rate: 0.001 → 0.5" in message
    assert "train.betas: [0.9, 0.98] → [0.8, 0.9]" in message
    assert "seed: 0 → 4" in message
    assert "train.steps" not in message
    assert "Put these back" in message


def test_what_may_change_changes_and_is_said(config, tmp_path):
    fit(config(steps=4), tmp_path / "run")
    progress = At(0, crash)
    _, result = fit(
        config({"workers": 0}, steps=7, log_every=1, dtype="auto"), tmp_path / "run", resume=True, progress=progress
    )
    assert result.step == 7
    assert {line for line in progress.said if line.startswith("changed")} == {
        "changed: train.steps: 4 → 7",
        "changed: train.log_every: 2 → 1",
        "changed: data.workers: None → 0",
    }
    again = read_config(tmp_path / "run" / "config.yaml", [])
    assert (again.train.steps, again.train.log_every, again.train.dtype) == (7, 1, "fp32")


def test_changed_training_samples_are_refused(config, tmp_path, manifest):
    fit(config(steps=2), tmp_path / "run")
    manifest.write_text("\n".join(manifest.read_text(encoding="utf-8").splitlines()[1:]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="training samples changed"):
        fit(None, tmp_path / "run", resume=True)


def test_a_tokenizer_that_does_not_fit_the_model_is_refused(config, tmp_path):
    fit(config(steps=2), tmp_path / "run")
    path = tmp_path / "run" / "tokenizer.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["model"]["vocab"]["unheard"] = len(tree["model"]["vocab"])
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer has \d+ tokens, but the model was trained with \d+"):
        Run.load(tmp_path / "run")


def test_a_modality_that_no_row_has_is_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"data.inputs: no row has audio. The manifest has text"):
        fit(config({"inputs": ["text", "audio"]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_refused(config, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(UserError, match=r"train.device: cannot use the device 'cuda'"):
        fit(config(device="cuda"), tmp_path / "run")


def test_a_run_in_training_is_not_trained_twice(config, tmp_path):
    pytest.importorskip("fcntl")
    fit(config(steps=4), tmp_path / "run")
    errors: list[UserError] = []

    def again():
        with pytest.raises(UserError, match="being trained by another process") as caught:
            fit(None, tmp_path / "run", resume=True)
        errors.append(caught.value)

    fit(config(steps=8), tmp_path / "run", resume=True, progress=At(6, again))
    assert errors


def test_a_locked_run_is_refused_before_its_configuration_is_touched(config, tmp_path):
    """Previously `--resume R train.steps=99` rewrote config.yaml and was refused after it."""
    pytest.importorskip("fcntl")
    fit(config(steps=2), tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    with locked(tmp_path / "run"), pytest.raises(UserError, match="being trained by another process"):
        fit(config(steps=99), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


BOTH = """
import sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from plait.config import read_config
from plait.errors import UserError
from plait.train import fit
sys.stdin.readline()
try:
    fit(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
    print("trained")
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_of_two_that_train_the_same_folder_at_once_one_trains(config, tmp_path):
    """Previously both wrote the same temporary folder, and in four of nine tries both died."""
    pytest.importorskip("fcntl")
    (tmp_path / "config.yaml").write_text(config_yaml(config(steps=30)), encoding="utf-8")
    words = [sys.executable, "-c", BOTH, str(tmp_path / "config.yaml"), str(tmp_path / "run")]
    both = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    said = sorted(one.communicate(timeout=120)[0].strip().splitlines()[-1] for one in both)
    assert said[1] == "trained"
    assert "being trained by another process" in said[0] or "exists already" in said[0]
    Run.load(tmp_path / "run")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_larger_patience_goes_on_after_an_early_stop(config, tmp_path, monkeypatch):
    """Previously `patience` could be changed, and a run that had stopped early stayed stopped."""
    calls: list[int] = []
    real = loop_module.held_out

    def rising(model, *words, **named):
        calls.append(1)
        return real(model, *words, **named)._replace(bits=float(len(calls)))

    monkeypatch.setattr(loop_module, "held_out", rising)
    assert fit(config(steps=40, patience=2), tmp_path / "run").result.step == 12
    progress = At(0, crash)
    assert fit(config(steps=40, patience=2), tmp_path / "run", resume=True, progress=progress).result.step == 12
    assert any("a larger train.patience" in line for line in progress.said)
    found = fit(config(steps=40, patience=4), tmp_path / "run", resume=True).result
    assert (found.step, found.stopped_early) == (20, True)
    found = fit(config(steps=24, patience=None), tmp_path / "run", resume=True).result
    assert (found.step, found.stopped_early) == (24, False)


def test_more_steps_begin_no_second_warm_up(config, tmp_path):
    """Previously the warm-up was a share of the new number of steps: the learning rate climbed a second time."""
    settings = {"warmup": 0.3, "log_every": 1, "modality_dropout": 0.3, "modality_dropout_warmup": 0.5}
    fit(config(steps=10, **settings), tmp_path / "run")
    progress = At(0, crash)
    fit(config(steps=40, **settings), tmp_path / "run", resume=True, progress=progress)
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "run") if "learning_rate" in line]
    assert len(rates) == 40
    assert rates[:3] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3])
    assert all(after <= before for before, after in pairwise(rates[2:]))
    assert any(line.startswith("learning rate: goes on from 5e-05 after step 10") for line in progress.said)
    after = read_config(tmp_path / "run" / "config.yaml").train
    assert (after.num_steps_of(after.warmup), after.num_steps_of(after.modality_dropout_warmup)) == (3, 5)
    assert (
        fit(config(steps=40, **settings), tmp_path / "run", resume=True).result.step == 40
    )  # one's own file: no change


def test_more_steps_half_way_fall_from_where_the_rate_is(config, tmp_path):
    settings = {"warmup": 2, "log_every": 1}
    with pytest.raises(Killed):
        fit(config(steps=10, checkpoint_every=1, **settings), tmp_path / "run", progress=At(6, crash))
    step = read_state(tmp_path / "run").step
    fit(config(steps=20, **settings), tmp_path / "run", resume=True)
    rates = {line["step"]: line["learning_rate"] for line in read_metrics(tmp_path / "run") if "learning_rate" in line}
    low, kept = 0.05e-3, rates[step]
    for number in range(step + 1, 21):  # half a cosine from the rate that was reached to the end
        share = 0.5 * (1 + math.cos(math.pi * (number - step) / (20 - step)))
        assert rates[number] == pytest.approx(low + (kept - low) * share)


def test_more_steps_at_a_rate_of_0_are_refused(config, tmp_path):
    fit(config(steps=4, final_fraction=0.0), tmp_path / "run")
    with pytest.raises(UserError, match="learning rate has fallen to 0 after step 4: more steps would change nothing"):
        fit(config(steps=8, final_fraction=0.0), tmp_path / "run", resume=True)
    assert read_config(tmp_path / "run" / "config.yaml").train.steps == 4


def test_a_new_run_from_a_resumed_ones_configuration_begins_anew(config, tmp_path):
    fit(config(steps=2), tmp_path / "run")
    fit(config(steps=4), tmp_path / "run", resume=True)
    run = fit(read_config(tmp_path / "run" / "config.yaml"), tmp_path / "new").run
    assert run.config.train.continued is None


def test_memory_that_runs_short_in_an_evaluation_is_remembered(config, tmp_path, monkeypatch):
    """Previously a held-out loss that did not fit ended the training with a traceback."""
    from plait.model import Model

    real = Model.forward

    def scarce(self, batch, ask):
        if ask.token_losses and len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, batch, ask)

    whole = fit(config(steps=4), tmp_path / "whole").result
    monkeypatch.setattr(Model, "forward", scarce)
    progress = At(0, crash)
    found = fit(config(steps=4), tmp_path / "run", progress=progress).result
    assert sum("out of memory" in line for line in progress.said) == 2  # 8, 4, 2
    assert read_state(tmp_path / "run").micro_batch_size == 2
    assert found.best_bits == pytest.approx(whole.best_bits, rel=1e-5)


def test_metrics_that_were_cut_are_said_and_training_goes_on(config, tmp_path):
    """Previously lines that were lost were lost in silence."""
    with pytest.raises(Killed):
        fit(config(), tmp_path / "run", progress=At(7, crash))
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:100])
    progress = At(0, crash)
    fit(config(), tmp_path / "run", resume=True, progress=progress)
    assert any("has 100 bytes, the checkpoint of step 6 says" in line for line in progress.said)
    assert read_metrics(tmp_path / "run")[-1]["step"] == 10


def test_attention_is_set_where_it_is_chosen(config, tmp_path, monkeypatch):
    """Previously only inside the loop: the estimate measured another attention than the training then used."""
    seen: list[set[str]] = []
    real = fit_module.estimate

    def spy(model, *words, **named):
        seen.append({m.implementation for m in model.modules() if isinstance(m, Attention)})
        return real(model, *words, **named)

    monkeypatch.setattr(fit_module, "estimate", spy)
    with pytest.raises(Killed):
        fit(config(attention="math"), tmp_path / "run", progress=At(2, crash))
    fit(config(attention="math"), tmp_path / "run", resume=True)
    assert seen == [{"math"}, {"math"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{}", "state.json: damaged: step is missing"),
        ("state.json", "[1]", "state.json: damaged: it holds no mapping"),
        ("state.json", '{"step": 10, "ep', "state.json: damaged: "),
        ("state.json", '{"step": "10", "epoch": 0, "batch": 0, "micro_batch_size": 8}', "step is '10'"),
        ("state.json", '{"step": 9, "epoch": 0, "batch": 0, "micro_batch_size": 8}', "it is of step 9"),
        ("environment.json", "garbage", "environment.json: half written"),
        ("environment.json", "[]", "environment.json: half written: it holds no mapping"),
        ("environment.json", '{"format": 2, "packages": 3}', "packages must be a mapping"),
    ],
)
def test_state_files_that_are_damaged_are_one_message(straight, tmp_path, name, content, message):
    run = shutil.copytree(straight, tmp_path / "run")
    path = newest(run) / name if name == "state.json" else run / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        fit(None, run, resume=True)


def test_word_vectors_need_neither_corpus_nor_training_again(config, tmp_path):
    """A run with Word2Vec or GloVe loads without the manifest: the vectors come with the weights."""
    pytest.importorskip("gensim")
    made = config(steps=3)
    text = made.encoders.text.model_copy(update={"embedding": {"kind": "word2vec", "frozen": True}})
    tree = made.model_dump(mode="json")
    tree["encoders"]["text"] = {**text.model_dump(mode="json"), "embedding": {"kind": "word2vec", "frozen": True}}
    from plait.config import make_config

    run, _ = fit(make_config(tree), tmp_path / "run")
    (tmp_path / "manifest.jsonl").unlink()
    again = Run.load(tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))
    assert [p.requires_grad for p in run.model.parameters()] == [p.requires_grad for p in again.model.parameters()]
    assert again.config.encoders.text.embedding.kind == "word2vec"


def test_the_main_thread_is_not_needed(config, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(config(steps=2), tmp_path / "run").result.step))
    thread.start()
    thread.join()
    assert found == [2]


def long_rows(folder: Path, longest: int) -> Path:
    """Targets of one-letter words, one of them long; and a text input that is longer than is read."""
    rows = [
        {"id": f"row{n}", "split": "train", "text": "a b " * (n + 1), "target": {"answer": "a b", "why": "b"}}
        for n in range(8)
    ]
    rows[3]["target"] = {"answer": " ".join("ab"[n % 2] for n in range(longest)), "why": "b"}
    rows[4]["target"] = [{"answer": "a", "why": "b"}, {"answer": "a " * 20, "why": "b"}]
    path = folder / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("longest", "limit"), [(50, 64), (51, 65), (80, 101), (99, 125)])
def test_the_limit_of_generation_follows_the_longest_target(tmp_path, longest, limit):
    """Previously it was 64 whatever the targets, so 59 of 553 could never be written. A quarter more, and the end."""
    config = tiny_config(long_rows(tmp_path, longest), steps=1, evaluate_every=None)
    assert config.generate.max_tokens is None
    said = At(0, None)
    run = fit(config, tmp_path / "run", progress=said).run
    assert run.config.generate.max_tokens == limit
    assert read_run_config(tmp_path / "run").generate.max_tokens == limit
    told = [line for line in said.said if "max_tokens" in line]
    assert told == ([] if limit == 64 else [f"generate.max_tokens: {limit}; the longest target has {longest} tokens"])


def test_targets_beyond_a_stated_limit_and_cut_inputs_are_said(tmp_path):
    """Previously nothing said that a target can never be written, or that a text is read in part only."""
    config = tiny_config(long_rows(tmp_path, 30), {"text": {"max_tokens": 12}}, steps=1, evaluate_every=None)
    config = config.model_copy(update={"generate": GenerateConfig(max_tokens=10)})
    said = At(0, None)
    run = fit(config, tmp_path / "run", progress=said).run
    assert run.config.generate.max_tokens == 10
    (targets,) = [line for line in said.said if "generate.max_tokens" in line]
    assert targets.startswith("2 of 9 targets have more than 10 tokens")
    (inputs,) = [line for line in said.said if "data.text.max_tokens" in line]
    assert inputs.startswith("2 of 8 text inputs have more than 12 tokens")


def test_a_yaml_that_leaves_the_limit_to_the_run_is_no_change(tmp_path):
    config = tiny_config(long_rows(tmp_path, 80), steps=1, evaluate_every=None)
    fit(config, tmp_path / "run")
    said = At(0, None)
    run = fit(config, tmp_path / "run", resume=True, progress=said).run
    assert run.config.generate.max_tokens == 101
    assert not [line for line in said.said if "changed" in line]


def test_targets_that_are_too_long_to_be_trained_on_set_no_limit(tmp_path):
    config = tiny_config(
        long_rows(tmp_path, 90), {"max_target_tokens": 60, "on_error": "skip"}, steps=1, evaluate_every=None
    )
    assert fit(config, tmp_path / "run").run.config.generate.max_tokens == 64
