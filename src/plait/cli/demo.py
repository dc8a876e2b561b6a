"""`plait demo`: from nothing to a model that hears a question about a picture and answers it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.common import Device, Json, Output, Seed, Threads, fit_or_leave, settings
from plait.errors import UserError

if TYPE_CHECKING:
    from plait.demo.make import DemoData

RUN_YAML = Path(__file__).parent.parent / "demo" / "demo.yaml"


def cache_folder() -> Path:
    """Where the embedded data are kept: PLAIT_CACHE, or the user's cache folder."""
    home = os.environ.get("PLAIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plait"
    return Path(home)


def demo(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides: fusion.kind=product train.steps=200", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The run's folder.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an earlier run in that folder away.")] = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Train on the embedded data: it hears a spoken question about a picture, writes down what it heard and answers it."""
    from plait.api import TrainedModel
    from plait.cli.progress import counter
    from plait.config import apply_overrides, make_config, read_tree
    from plait.demo.make import make_demo_data
    from plait.evaluate import render
    from plait.train import progress_for

    output, began = Output(as_json), time.monotonic()
    output.say("1. The data: pictures of easy-vqa, with questions spoken by eSpeak NG. Both are synthetic.")
    with counter("making") as count:
        data = make_demo_data(cache_folder(), progress=lambda stage, done, of: count(done, of))
    made = time.monotonic() - began
    output.say(f"   {data.manifest}  ({f'made in {made:.0f} s' if data.made else 'made before'})")
    if data.message:
        output.say(f"   {data.message}")
    tree = apply_overrides(
        read_tree(RUN_YAML),
        [f"data.manifest={data.manifest}", *(overrides or []), *settings(seed=seed, device=device, threads=threads)],
    )
    clear(out, fresh)
    output.say("2. Training.")
    fitted = fit_or_leave(make_config(tree, where="demo"), out, progress=progress_for(to_stderr=as_json))
    trained = time.monotonic() - began - made
    output.say("3. Questions in voices, about pictures and (unheard) in sentences that training never had.")
    model = TrainedModel(fitted.run)
    with counter("evaluating") as count:
        record = model.evaluate("test", progress=count)
    output.say(render(record.summary))
    examples = show_examples(model, data, output)
    baselines = dict(data.summary["baselines"])
    output.say(
        f"For comparison: the most frequent answer is right in {baselines['constant']:.1%}, "
        f"the best guess from the question alone in {baselines['question_only']:.1%} of the test."
    )
    total = time.monotonic() - began
    output.say(f"\nDone in {total / 60:.1f} minutes: data {made:.0f} s, training {trained:.0f} s, the rest evaluation.")
    output.say(next_commands(out, examples))
    output.result(
        {
            "run": str(out),
            "manifest": str(data.manifest),
            "seconds": {"data": round(made, 1), "training": round(trained, 1), "all": round(total, 1)},
            "baselines": baselines,
            "examples": examples,
            **record.summary.to_json(),
        }
    )


def clear(folder: Path, fresh: bool) -> None:
    """Make room for the run, if the user said so."""
    if folder.exists() and any(folder.iterdir()):
        if not fresh:
            raise UserError(
                f"{folder} exists already",
                right=f"--fresh trains anew, --out NAME elsewhere; plait evaluate {folder} shows what it can do",
            )
        import shutil

        if not (folder / "config.yaml").exists():
            raise UserError(
                f"{folder} is not a run: it is not thrown away", where="--fresh", right="Name another --out"
            )
        shutil.rmtree(folder)


def show_examples(model: Any, data: DemoData, output: Output) -> list[dict[str, str]]:
    """Three test questions, with what was heard and answered."""
    wanted = list(data.summary["examples"])
    samples = {s.id: s for s in model.dataset().samples if s.id in wanted}
    chosen = [samples[id] for id in wanted if id in samples]
    shown: list[dict[str, str]] = []
    for sample, generated in zip(chosen, model.answer(chosen), strict=True):
        asked = sample.references[0]
        output.say(f"  picture  {sample.image[0]}")
        output.say(f"  {'sound  ' if sample.audio else 'text   '}  {sample.audio or sample.text}")
        output.say(f"  heard    {generated.segments['heard']!r}   (was: {asked['heard']!r})")
        output.say(f"  answer   {generated.segments['answer']!r}   (right: {asked['answer']!r})\n")
        shown.append(
            {
                "id": sample.id,
                "image": str(sample.image[0]),
                "audio": str(sample.audio or ""),
                "text": sample.text or "",
                **{f"said_{s}": t for s, t in generated.segments.items()},
                **{f"right_{s}": t for s, t in asked.items()},
            }
        )
    return shown


def next_commands(run: Path, examples: list[dict[str, str]]) -> str:
    """What to try now."""
    first = examples[0] if examples else {"image": "PICTURE.png", "audio": "QUESTION.wav", "text": ""}
    asked = f"--audio {first['audio']}" if first["audio"] else f"--text {first['text']!r}"
    return (
        "\nTry next:\n"
        f"  plait generate {run} --image {first['image']} {asked}\n"
        f"  plait generate {run} --image {first['image']} --text 'is there a circle'\n"
        f"  plait evaluate {run} --inputs audio          # without the picture\n"
        "  plait demo --out runs/product fusion.kind=product\n"
        "  plait init FOLDER                               # your own data"
    )
