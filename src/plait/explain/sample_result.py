"""What one sample's target was read from: which cells, moments and words were looked at, and which were needed.

In: numbers per token of every input.
Out: plain data for JSON, and the names of the files: `RUN/explain/sample-ID.json` and `.png`.
Invariant: the file is whole or not there, and every id has a name of its own that every file system takes.

Two measures, which say different things. Attention is where the fusion looked: shares that sum to one over what competes. Needed
is what hiding does: by how many bits the loss of a segment grows when the fusion is not given a piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from plait.evaluate.measured import mark
from plait.explain.result import FOLDER, FORMAT
from plait.run import replacing

MAX_NAME = 60


@dataclass(frozen=True)
class InputView:
    """One input of the sample and its tokens: a picture's cells (row by row), a sound's moments, a text's words.

    `grid`: rows and columns of cells, or the number of tokens. `labels`: each token in words. `seconds`: where each moment
    begins and ends. `hidden`: what is hidden at a time. By segment: `attention`, each token's mean share over the segment's
    words; `attention_by_word`, the share for each word; `needed`, the bits lost when the token is hidden. `drawn`: as cells,
    moments or words; `raw`: what is drawn behind them.
    """

    modality: str
    number: int
    grid: tuple[int, ...]
    labels: tuple[str, ...]
    seconds: tuple[tuple[float, float], ...] = ()
    hidden: str = ""
    attention: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    attention_by_word: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    needed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    drawn: str = "words"
    raw: np.ndarray | None = None

    @property
    def name(self) -> str:
        """`image`, or `image 2`."""
        return self.modality if self.number == 0 else f"{self.modality} {self.number + 1}"


@dataclass(frozen=True)
class SampleExplanation:
    """One sample, explained.

    `target`: what the bits are of; with `from_answer` it is the model's own answer, because the sample has no target. `words`
    and `word_bits`: the tokens of each segment, its end included, and the bits of each with all inputs. `without`: modality →
    segment → bits lost when all of it is hidden. `attention`: `each` (the tokens of each modality compete), `joint` (those of
    all do), or None and `no_attention` says why; `elsewhere`: segment → the share that went to no input.
    `manifest`: where a row stands that is not the run's own.
    """

    id: str
    split: str
    inputs: tuple[str, ...]
    target: Mapping[str, str]
    from_answer: bool
    answer: Mapping[str, str]
    words: Mapping[str, tuple[str, ...]]
    word_bits: Mapping[str, tuple[float, ...]]
    without: Mapping[str, Mapping[str, float]]
    attention: str | None
    no_attention: str | None
    elsewhere: Mapping[str, float]
    views: tuple[InputView, ...]
    notes: tuple[str, ...] = ()
    manifest: str | None = None

    @property
    def name(self) -> str:
        """Of its files, without their endings: `sample-ID[@manifest]`."""
        return file_name(self.id) + mark(self.manifest)

    @property
    def bits(self) -> dict[str, float]:
        """Segment → bits with all inputs."""
        return {segment: sum(bits) for segment, bits in self.word_bits.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        plain = asdict(self)
        for view in plain["views"]:
            view.pop("raw")
        return {"format": FORMAT, **plain, "bits": self.bits}

    def write(self, run: Path) -> Path:
        """`RUN/explain/sample-ID.json`."""
        path = run / FOLDER / f"{self.name}.json"
        with replacing(path) as part:
            part.write_text(
                json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n",
                encoding="utf-8",
                newline="\n",
            )
        return path


def file_name(id: str) -> str:
    """`sample-ID`; an id that no file can be named after is rewritten, with a hash that tells it from others."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", id)[:MAX_NAME]
    mark = "" if safe == id and not id.endswith(".") else "-" + blake2b(id.encode(), digest_size=4).hexdigest()
    return f"sample-{safe}{mark}"


def attended_view(view: InputView, by_word: Mapping[str, np.ndarray]) -> InputView:
    """The view with its share of attention: segment → (words, tokens)."""
    kept = {f.name: getattr(view, f.name) for f in fields(view)}
    kept["attention"] = {segment: tuple(shares.mean(axis=0).tolist()) for segment, shares in by_word.items()}
    kept["attention_by_word"] = {
        segment: tuple(tuple(row) for row in shares.tolist()) for segment, shares in by_word.items()
    }
    return InputView(**kept)
