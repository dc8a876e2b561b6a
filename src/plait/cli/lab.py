"""`plait lab`: tasks whose information is known in bits, and what trained models are found to use of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.common import Device, Json, Output, Seed, Threads, kept, leaving, settings, write_file
from plait.errors import UserError

if TYPE_CHECKING:
    from plait.lab.chance import FalseAlarms
    from plait.lab.measure import FusionRow, TaskRow

RESULT = "lab.json"


def lab(
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="redundant,unique,xor,and,noisy_copy,parity,starved; default: all.")
    ] = None,
    fusions: Annotated[
        str | None,
        typer.Option("--fusions", help="Kinds compared on XOR where nothing behind them mixes; none; default: all."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Models trained on each task, and of each fusion.")] = 1,
    shuffled: Annotated[
        int,
        typer.Option(
            "--shuffled", min=0, help="Repetitions with shuffled answers, where nothing should be called used."
        ),
    ] = 0,
    folder: Annotated[Path, typer.Option("--folder", help="Where the data and the runs go.")] = Path("runs/lab"),
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Bits that a figure may be from the truth.")
    ] = 0.06,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides of all runs: train.steps=600", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an earlier laboratory in that folder away.")] = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Train on tasks of known truth and show whether `plait explain` says what is known; exit code 1 = it does not.

    About half a minute for each task, fusion and seed, and some seconds for each repetition of --shuffled, on one core.
    """
    from plait.lab.report import alarm_line, fusion_rows, fusion_table, largest_error, task_rows, task_table
    from plait.lab.settings import known_fusions
    from plait.lab.truth import known_tasks

    output, began = Output(as_json), time.monotonic()
    chosen, kinds = known_tasks(listed(tasks)), known_fusions(listed(fusions))
    clear(folder, fresh)
    data = Data(folder, output)
    changes = [*(overrides or []), *settings(device=device, threads=threads)]
    numbers = range(seed or 0, (seed or 0) + seeds)
    measured = [measure_one(task, data, number, changes, output) for task in chosen for number in numbers]
    compared = [compare_one(kind, data, number, changes, output) for kind in kinds for number in numbers]
    alarms = try_shuffled(data, shuffled, seed or 0) if shuffled else None
    largest = largest_error(measured)
    result: dict[str, Any] = {
        "largest_error_bits": largest,
        "tolerance_bits": tolerance,
        "rows": task_rows(measured),
        "fusions": fusion_rows(compared),
        "false_alarms": alarms and alarms.to_json(),
        "seconds": round(time.monotonic() - began, 1),
    }
    with kept(lambda: write_file(folder / RESULT, json.dumps(result, indent=1) + "\n")):
        if measured:
            output.say(f"\n{task_table(measured)}\n\nlargest error: {largest:.3f} bits (tolerance {tolerance:g})")
        if compared:
            output.say(f"\nXOR where only the fusion mixes\n{fusion_table(compared)}")
        if alarms:
            output.say(f"\n{alarm_line(alarms)}")
    output.result(result)
    unlike = any(row["agrees"] is False for row in result["fusions"])
    if largest > tolerance or unlike or (alarms and alarms.interval[0] > 0.05):
        raise typer.Exit(1)


class Data:
    """The tasks' data, made when first asked for."""

    def __init__(self, folder: Path, output: Output) -> None:
        self.folder, self.output = folder, output

    def manifest(self, name: str) -> Path:
        """The manifest of a task."""
        from plait.cli.progress import counter
        from plait.lab.make import make_task_data
        from plait.lab.truth import TASKS

        with counter(f"data of {name}") as count:
            return make_task_data(TASKS[name], self.folder / "data" / name, progress=count)


def try_shuffled(data: Data, number: int, seed: int) -> FalseAlarms:
    """The false alarms on shuffled answers of a small task of words and pictures."""
    from plait.cli.progress import counter
    from plait.lab.chance import false_alarms
    from plait.lab.make import LabSize, make_task_data
    from plait.lab.truth import TASKS

    manifest = make_task_data(TASKS["noisy_copy"], data.folder / "data" / "shuffled", size=LabSize(256, 200, 300))
    with counter("shuffled answers") as count, leaving():
        return false_alarms(manifest, number, seed=seed, progress=count)


def listed(words: str | None) -> list[str] | None:
    """The names between commas; `none` names nothing."""
    if words is None:
        return None
    return [] if words == "none" else [word.strip() for word in words.split(",") if word.strip()]


def clear(folder: Path, fresh: bool) -> None:
    """Make room for the laboratory, if the user said so; what is none is not thrown away."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not fresh:
        raise UserError(f"{folder} exists already", right="--fresh begins anew, --folder NAME elsewhere")
    inside = {path.name for path in folder.iterdir()}
    if not inside <= {"data", "runs", RESULT}:
        raise UserError(
            f"{folder} is no laboratory: it is not thrown away", where="--fresh", right="Name another --folder"
        )
    import shutil

    shutil.rmtree(folder)


def measure_one(task: Any, data: Data, seed: int, overrides: list[str], output: Output) -> TaskRow:
    """Train and measure one task, and say how it went."""
    from plait.lab.measure import measure_task

    manifest = data.manifest(task.name)
    run = data.folder / "runs" / f"{task.name}-{seed}"
    with leaving():
        row = measure_task(task, manifest, run, seed=seed, overrides=overrides)
    output.say(f"{task.name}, seed {seed}: largest error {row.error:.3f} bits  ({row.seconds:.0f} s)")
    return row


def compare_one(kind: str, data: Data, seed: int, overrides: list[str], output: Output) -> FusionRow:
    """Train and try one fusion on XOR, and say how it went."""
    from plait.lab.measure import measure_fusion
    from plait.lab.truth import TASKS

    manifest = data.manifest("xor")
    run = data.folder / "runs" / f"fusion-{kind}-{seed}"
    with leaving():
        row = measure_fusion(kind, TASKS["xor"], manifest, run, seed=seed, overrides=overrides)
    output.say(f"{kind} on xor, seed {seed}: {row.accuracy:.1%} right  ({row.seconds:.0f} s)")
    return row
