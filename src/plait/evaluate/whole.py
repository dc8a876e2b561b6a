"""Evaluate a run on a split of its own data, or of another manifest's.

In: a run, its dataset, options of generation.
Out: a `Record`, written into the run's folder unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from plait.config import EvaluateConfig, GenerateConfig
from plait.data.manifest import Dataset
from plait.evaluate.answerer import RunAnswerer
from plait.evaluate.inputs import in_run_order
from plait.evaluate.measured import notes_of, weights_of_run
from plait.evaluate.record import Record
from plait.evaluate.run import evaluate
from plait.run import Run


def evaluate_run(
    run: Run,
    dataset: Dataset,
    *,
    config: EvaluateConfig | None = None,
    options: GenerateConfig | None = None,
    manifest: str | None = None,
    write: bool = True,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Record:
    """Answer the split of `config` (default: the run's own settings) and score it; `say` is told what is cached.

    `manifest`: where the dataset stands, if it is not the run's own.
    """
    weights, config = weights_of_run(run), config or run.config.evaluate
    inputs = None if config.inputs is None else in_run_order(config.inputs, run.inputs)
    return evaluate(
        RunAnswerer(run, options, say=say),
        dataset.samples,
        config=config.model_copy(update={"inputs": inputs}),
        segments=run.segments,
        seed=run.config.seed,
        run=run.config.model_dump(mode="json"),
        folder=run.folder if write else None,
        linked=run if run.model.links else None,
        modalities=run.config.inputs,
        notes=(*notes_of(weights, manifest), *dataset.notes),
        manifest=manifest,
        step=weights.step,
        progress=progress,
    )
