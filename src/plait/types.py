"""The values that travel between the steps, and the legend of their axes.

row → Sample → Batch → Features → Condition → states → logits

| letter | axis |
|---|---|
| B | samples of a batch |
| R | items of one modality in a batch: only those that exist, so a batch without sound has R = 0 audio items |
| K | items of one modality per sample (one, or several pictures) |
| T | text positions of the target |
| P | positions of a prefix |
| L | tokens of one modality |
| S | tokens of an input text |
| F | frames of a log-mel spectrogram |
| M | mel bands |
| N | frames of a video |
| C Y X | channels, rows, columns of a picture |
| E | width of one encoder's features |
| D | width of the language model |
| V | vocabulary |
| H | attention heads |
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

IGNORED = -100
"""The target id of a position that is not scored."""


FIRST = ("text", "image", "audio", "video")
"""The first modalities, and the names of the inputs of a run that lists them, in their order."""

FIRST_READ = FIRST[:3]
"""Those of them that runs of before could read."""


class Modality(StrEnum):
    """The same names, for programs written when mappings were keyed by these: each is equal to the name of the input."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of inputs in their order: text, image, audio, video first, then the others as they are given."""
    given = tuple(dict.fromkeys(names))
    return (*(name for name in FIRST if name in given), *(name for name in given if name not in FIRST))


Reference = Mapping[str, str]
"""One right target: segment name → text, in the order in which the language model says them."""


@dataclass(frozen=True, init=False, slots=True)
class Sample:
    """One row of the manifest: any subset of a run's inputs, a target with one or several references, an id, a split, groups, tags.

    `inputs`: name → its items, in the run's order and without those that the row lacks: a text itself, paths of files, what else
    the modality makes of a field. `references` is empty for a row without a target (to be answered).
    `groups` names what the sample was made from (`{"picture": "17", "speaker": "en-us+m3"}`).
    `tags` sort samples into kinds that get figures of their own (`{"pattern": "spoken"}`), and say nothing about leakage.
    `where` is the place of the row, for messages (`data/manifest.jsonl:12`).
    """

    id: str
    split: str
    inputs: Mapping[str, tuple[Hashable, ...]]
    references: tuple[Reference, ...]
    groups: Mapping[str, str]
    tags: Mapping[str, str]
    where: str

    def __init__(
        self,
        id: str,
        split: str,
        text: str | None = None,
        image: tuple[Path, ...] = (),
        audio: Path | None = None,
        video: Path | None = None,
        references: tuple[Reference, ...] = (),
        groups: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        where: str = "",
        *,
        inputs: Mapping[str, tuple[Hashable, ...]] | None = None,
    ) -> None:
        """`text`, `image`, `audio`, `video`: inputs that are called so, beside those of `inputs`."""
        own = inputs
        if text or image or audio or video:
            named = {"text": (text,), "image": tuple(image), "audio": (audio,), "video": (video,)}
            own = {**(inputs or {}), **{name: items for name, items in named.items() if any(items)}}
        put = object.__setattr__
        put(self, "id", id)
        put(self, "split", split)
        put(self, "inputs", {} if own is None else own)
        put(self, "references", references)
        put(self, "groups", {} if groups is None else groups)
        put(self, "tags", {} if tags is None else tags)
        put(self, "where", where)

    @property
    def text(self) -> str | None:
        """The text of the input that is called so."""
        found = self.inputs.get("text")
        return str(found[0]) if found else None

    @property
    def image(self) -> tuple[Path, ...]:
        """The pictures of the input that is called so."""
        return self.inputs.get("image", ())  # pyright: ignore[reportReturnType]

    @property
    def audio(self) -> Path | None:
        """The recording of the input that is called so."""
        found = self.inputs.get("audio")
        return found[0] if found else None  # pyright: ignore[reportReturnType]

    @property
    def video(self) -> Path | None:
        """The film of the input that is called so."""
        found = self.inputs.get("video")
        return found[0] if found else None  # pyright: ignore[reportReturnType]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text among the inputs."""
        return tuple(item for items in self.inputs.values() for item in items if isinstance(item, str))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file among the inputs."""
        return tuple(item for items in self.inputs.values() for item in items if isinstance(item, Path))

    def items(self, name: str) -> tuple[Hashable, ...]:
        """The items of an input; none where the sample lacks it."""
        return self.inputs.get(name, ())

    def has(self, name: str) -> bool:
        """Whether the sample has this input."""
        return name in self.inputs

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the inputs that the sample has, in their order."""
        return tuple(self.inputs)

    def only(self, names: Collection[str]) -> Sample:
        """The same sample with the inputs outside `names` taken away."""
        return replace(self, inputs={name: items for name, items in self.inputs.items() if name in names})


@dataclass(frozen=True)
class Items:
    """One modality's inputs in a batch: only the items that exist, so that an encoder never works on padding samples.

    `values`: text ids `(R, S)` long; pixels `(R, C, Y, X)` float, normalised; log-mel `(R, F, M)` float.
    `lengths`: valid tokens of a text, valid frames of a log-mel, 1 for a picture; `(R,)`.
    `index`: the item that sample b has at place k, −1 for none; `(B, K)`. Several samples may share one item.
    `sources`: items with the same number are random changes of the same file; None = every item is a file or text of its own.
    `encoded`: the values are features `(R, L, E)` already, as the modality's frozen encoder computed them, `lengths` their tokens.
    """

    values: Shaped[Tensor, "R ..."]
    lengths: Int[Tensor, " R"]
    index: Int[Tensor, "B K"]
    sources: Int[Tensor, " R"] | None = None
    encoded: bool = False

    def to(self, device: torch.device | str) -> Items:
        """The same items on another device."""
        sources = None if self.sources is None else self.sources.to(device)
        return Items(self.values.to(device), self.lengths.to(device), self.index.to(device), sources, self.encoded)


@dataclass(frozen=True)
class Batch:
    """Samples, padded and masked; targets are shifted here and nowhere else.

    The language model reads `tokens` and must say `targets`: for the segments heard = "a b", answer = "c"

        tokens   <heard>  a      b      <answer>  c
        targets  a        b      <end>  c         <end>

    so every segment begins with its own special token, which is given and never predicted, and ends with `<end>`.
    `targets` is IGNORED at padding; `segments` holds the index of the segment of each target, −1 at padding; `weights` is
    each sample's weight in the loss.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, Items]
    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"]
    weights: Float[Tensor, " B"]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.ids,
            {name: items.to(device) for name, items in self.inputs.items()},
            self.tokens.to(device),
            self.targets.to(device),
            self.segments.to(device),
            self.weights.to(device),
        )


@dataclass(frozen=True)
class Features:
    """Token features `(B, L, E)` with their mask `(B, L)`, True where a token is real. All masked = the sample lacks the modality.

    Straight out of an encoder the first axis is R (items); `model.py` gathers items to samples.
    """

    values: Float[Tensor, "B L E"]
    mask: Bool[Tensor, "B L"]


@dataclass(frozen=True)
class Condition:
    """What a fusion computes once per sample and reads at every text position.

    `values` and `masks` are the fusion's own tensors by name, all with the batch as first axis, so that a beam can be
    reordered and a batch repeated without knowing the fusion. `prefix` stands before the text. `branches` `(B, n)` (late
    fusion): the language model runs n times for every sample, in rows b·n … b·n + n − 1, and the logits are added, each
    times its branch's weight.
    """

    values: Mapping[str, Shaped[Tensor, "B ..."]] = field(default_factory=dict)
    prefix: Features | None = None
    branches: Float[Tensor, "B n"] | None = None

    @property
    def num_branches(self) -> int:
        """Rows of the language model for every sample."""
        return 1 if self.branches is None else self.branches.shape[1]

    def rows_of(self, samples: Int[Tensor, " rows"]) -> Int[Tensor, " rows_n"]:
        """The language model's rows of these samples, all branches of a sample side by side."""
        number = self.num_branches
        return (
            samples
            if number == 1
            else (samples[:, None] * number + torch.arange(number, device=samples.device)).flatten()
        )

    def select(self, rows: Int[Tensor, " rows"]) -> Condition:
        """The conditions of the given rows of the batch, in that order, repeats allowed."""
        prefix = self.prefix and Features(self.prefix.values[rows], self.prefix.mask[rows])
        branches = None if self.branches is None else self.branches[rows]
        return Condition({name: value[rows] for name, value in self.values.items()}, prefix, branches)
