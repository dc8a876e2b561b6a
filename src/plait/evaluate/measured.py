"""What a measurement is of: whose rows, and which step's weights.

In: a run, and the manifest that was given beside it.
Out: the name of another manifest; the mark that it leaves in the names of files; how far the training of the weights had come.
Invariant: figures of another manifest never bear the name of the run's own, and weights of an unfinished training say so.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from plait.data.folder import manifest_in
from plait.errors import UserError
from plait.run import MODEL, Run, read_metadata
from plait.train.checkpoint import read_state

MAX_NAME = 40


class Weights(NamedTuple):
    """The weights in a run's folder: after which step, the best so far or the last; and how far the training has come.

    `step` is None of a run that notes none; `reached` and `steps` of one whose checkpoints are gone.
    """

    step: int | None
    best: bool = False
    reached: int | None = None
    steps: int | None = None
    ended: bool = True

    @property
    def note(self) -> str | None:
        """A sentence for a training that has not ended."""
        if self.ended:
            return None
        which = "that were best so far" if self.best else "that were saved last"
        of = "" if self.step is None else f", those of step {self.step:,}"
        return (
            f"the training has not finished (step {self.reached:,} of {self.steps:,}): "
            f"these are the weights {which}{of}"
        )


def weights_in(folder: Path, steps: int) -> Weights:
    """What the weights in a run's folder are, of a training of so many steps."""
    metadata = read_metadata(folder / MODEL)
    step = int(metadata["step"]) if metadata.get("step", "").isdigit() else None
    try:
        state = read_state(folder)
    except UserError:  # no checkpoints, or damaged ones: nothing tells how far it came
        return Weights(step)
    ended = state.step >= steps or state.stopped_early
    return Weights(step, "tune_bits" in metadata, state.step, steps, ended)


def weights_of_run(run: Run) -> Weights:
    """What the weights of a run are."""
    return weights_in(run.folder, run.config.train.steps)


def other_manifest(run: Run, manifest: Path | str | None) -> str | None:
    """The path of a manifest that is not the run's own, None where it is."""
    if manifest is None:
        return None
    path, own = located(Path(manifest)), located(Path(run.config.data.manifest))
    return None if path == own else str(path)


def located(manifest: Path) -> Path:
    """The file that is meant; a folder stands for the manifest in it."""
    manifest = manifest.resolve()
    return (manifest_in(manifest) or manifest) if manifest.is_dir() else manifest


def mark(manifest: str | None) -> str:
    """`@NAME-1a2b3c4d` behind the split in the names of files about another manifest; the last part tells equal names apart."""
    if manifest is None:
        return ""
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", Path(manifest).stem)[:MAX_NAME]
    return f"@{name}-{blake2b(manifest.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()}"


def notes_of(weights: Weights, manifest: str | None) -> list[str]:
    """What has to be known before the figures are read."""
    other = [f"rows of {Path(manifest).name}, which is not the run's own manifest"] if manifest else []
    return other + [note for note in (weights.note,) if note]
