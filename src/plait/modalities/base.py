"""What a modality is: all that Plait knows about one kind of input, and nothing about any run that reads it.

In: a field of a manifest's row, a path, or bytes.
Out: items; from them, by a `Preparer`, values `(L, …)` that a batch holds and an encoder reads.
Invariant: nobody outside a modality's folder asks which modality an input is; a new one is one folder and one line in
`plait/modalities/__init__.py`.

A run reads *inputs*: names with a modality each. What is the same for all inputs of a modality stands in `Modality`; what the
options of an input make of it, in its `Preparer`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from plait.choices import Config, validated
from plait.errors import UserError
from plait.files import open_regular, read_bytes
from plait.modalities.damage import Damage
from plait.modalities.view import Seen, Small, View

Item = Hashable
"""One item of an input as a sample holds it: the path of a file, a `Blob`, a text, or numbers as tuples."""


@dataclass(frozen=True)
class Blob:
    """What would be in a file: a column of a table, the body of a request. `name` is for messages."""

    data: bytes
    name: str = "the data"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Blob({self.name!r}, {len(self.data):,} bytes)"


def content_of(item: Path | str | Blob, *, max_bytes: int) -> bytes:
    """The bytes of a file, or those that are given."""
    if not isinstance(item, Blob):
        return read_bytes(item, max_bytes=max_bytes)
    if len(item.data) > max_bytes:
        raise UserError(f"{len(item.data):,} bytes", where=item.name, right=f"At most {max_bytes:,} are read.")
    return item.data


@contextmanager
def opened(item: Path | str | Blob) -> Iterator[BinaryIO]:
    """An ordinary file, or what would be in one as a file that has no name."""
    if not isinstance(item, Blob):
        with open_regular(item) as file:
            yield file
        return
    with tempfile.TemporaryFile(buffering=0) as raw:
        left = memoryview(item.data)
        while left:
            left = left[raw.write(left) :]
        raw.seek(0)
        # libraries move the descriptor themselves: a buffer that could be written would be lost on that
        yield io.BufferedReader(raw)  # pyright: ignore[reportArgumentType]


class FieldError(UserError):
    """A field whose value is none of its modality's. `code` tells the kind of the mistake, for counting."""

    def __init__(self, code: str, what: str, *, right: str | None = None) -> None:
        super().__init__(what, right=right)
        self.code = code


class Field(NamedTuple):
    """Where a value stands: the name of its column, how a value is shown in a message, and how a named file is found."""

    name: str
    shown: Callable[[object], str]
    find: Callable[[str], Path]


class Preparer(ABC):
    """How the items of one input become values. It keeps nothing, so that any number of threads may use it.

    item → `decode` → what was decoded (damage and `change_decoded` act on it) → `value` → what stands in a batch
    (`change_value` acts on it) → `collate`.
    """

    changes_decoded: bool = False
    """Whether training changes at random what was decoded."""
    changes_value: bool = False
    """Whether training changes values at random."""
    decoded_is_value: bool = True
    """Whether `value` does nothing, so that one entry in the cache serves for both."""
    decoded_draw: ClassVar[str] = "decoded"
    """The name of the draws of `change_decoded`."""

    is_kept: bool = True
    """Whether what was decoded is worth a place in the cache."""

    @property
    @abstractmethod
    def preparation(self) -> str:
        """All options that a value depends on, random changes left out: a part of keys of caches."""

    def key(self, item: Item) -> Hashable | None:
        """What makes two items of a batch the same; None for one that holds nothing (a text without a word)."""
        return item

    @abstractmethod
    def decode(self, item: Item) -> Tensor:
        """The item as it was recorded; not to be changed in place."""

    def change_decoded(self, decoded: Tensor, generator: torch.Generator) -> Tensor:
        """What was decoded, changed at random for training."""
        return decoded

    def value(self, decoded: Tensor) -> Shaped[Tensor, "L ..."]:
        """What an encoder reads of it."""
        return decoded

    def change_value(self, value: Tensor, generator: torch.Generator) -> Tensor:
        """A value, changed at random for training."""
        return value

    @abstractmethod
    def collate(self, values: Sequence[Tensor]) -> tuple[Shaped[Tensor, "R ..."], Int[Tensor, " R"]]:
        """Values side by side, padded behind, and the length of each; of none, a tensor with R = 0."""

    def is_cut(self, item: Item) -> bool:
        """Whether only the beginning of the item is read."""
        return False

    # -- lengths, without decoding --

    cost: float = 0.0
    """What a padded position costs beside a frame of sound; 0 where all values have one shape."""
    longest: int = 1
    """The most positions that a value may have."""

    def length(self, item: Item) -> int:
        """The positions of its value, without decoding; 0 for an item that cannot be read."""
        return 1

    def guessed_length(self, item: Item) -> int:
        """The same without opening a file: good for sorting only."""
        return self.length(item)

    opens_files: bool = False
    """Whether `length` has to look into the file, so that of very many files lengths are guessed."""

    @abstractmethod
    def shape(self, length: int) -> tuple[int, ...]:
        """The shape of a value of this length."""

    dtype: torch.dtype = torch.float32

    def decoded_bytes(self, length: int) -> int:
        """What the memory holds of an item of this length once it was decoded; 0: it is not kept."""
        return 0

    def seconds(self, length: int) -> float:
        """How long a value of this length lasts, where it lasts at all."""
        return 0.0

    def size(self, length: int) -> tuple[int, ...]:
        """What an encoder's `num_tokens` is asked with."""
        return (length,)


@dataclass(frozen=True)
class Facts:
    """What `plait data check` learns of an item that can be read.

    `sizes`: measure → (unit, number), for histograms; `format`: of the file; `remarks`: code of
    `Modality.remarks` → what is odd about it; `levels`: code → the number on which that depends.
    """

    length: int
    sizes: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    format: str = ""
    remarks: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class First:
    """What `plait init` sees of items without decoding them, and what a first configuration says because of it.

    `found`: (heading, words) for a person; `notes`: what to know; `options`: the preparation as YAML on one line, and `why`;
    `encoder`: the same, and what else could stand there. `cost`: of a sample's item in training, beside a picture of 64 × 64
    (about 0.5); `leaves_out`: whether some items are refused by these options.
    """

    encoder: str
    found: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    options: str = ""
    why: str = ""
    encoder_why: str = ""
    cost: float = 0.0
    leaves_out: bool = False


@dataclass(frozen=True)
class Parts:
    """What an encoder may be built from beside its own configuration and width.

    `options`: of the preparation; `vectors` gives word vectors for an embedding's configuration, None for learnt ones.
    """

    options: Config
    vocabulary_size: int
    pad_id: int
    vectors: Callable[[Any], Tensor | None]
    read_weights: bool = True


class Modality(ABC):
    """One kind of input. Its instances hold nothing: there is one of each, in the registry."""

    name: ClassVar[str]
    one: ClassVar[str]
    """What an item is called: picture, recording."""
    many: ClassVar[str]
    Options: ClassVar[type[Config]]
    """How its items are prepared."""
    encoder_axis: ClassVar[str]
    """The axis of `plait.choices.KINDS` that its encoders are."""
    encoders: ClassVar[Any]
    """The annotated type of that axis."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Files of a folder of media that are such an input."""
    other_names: ClassVar[tuple[str, ...]] = ()
    """What other tools call the field."""
    holds: ClassVar[str] = "a path"
    """What a field holds, for messages."""
    remarks: ClassVar[Mapping[str, str]] = {}
    """Code → what is odd, said of many items: `pictures of one colour all over`."""
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Name of a file's format → the suffixes that such a file may have."""
    troubles: ClassVar[Mapping[str, str]] = {}
    """Words of a refusal → its kind (`plait.data.check.files.TROUBLES`), where they are this modality's own."""
    packages: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """A package that is not always there → the suffixes of files that need it (the extra `[phone]` installs them)."""
    doubtful: ClassVar[tuple[str, ...]] = ()
    """Suffixes of files that are such an input or another, by what they hold (`field_of`)."""
    doubt: ClassVar[str] = ""
    """How they are read, for a note: `are read as sound: …`."""
    unit: ClassVar[str] = "positions"
    """What the length of a value counts."""
    prepared_by: ClassVar[tuple[str, ...]] = ()
    """The modules on which a value depends beside its options: a change of them makes features that were kept outdated."""
    left_to_data: ClassVar[tuple[str, ...]] = ()
    """Options that `fitted` finds where they are None; a resumed run takes them from itself."""
    hue: ClassVar[tuple[str, str]] = ("#7f7f7f", "#a9a9a9")
    """Its colour in plots, in the light and in the dark."""

    @abstractmethod
    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """The items in a field that is not missing; `FieldError` for what is none."""

    @abstractmethod
    def preparer(self, options: Any, encode: Callable[[str], Sequence[int]], pad_id: int) -> Preparer:
        """How items are prepared with these options; `encode` is the run's tokenizer."""

    def fitted(self, options: Any, items: Iterable[Item]) -> Any:
        """The options with what follows from an input's training items; asked once, before the model is built."""
        return options

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Any:
        """The encoder of a configuration of the axis."""
        return config.build(width)

    @abstractmethod
    def look(self, item: Item, options: Any) -> Facts:
        """What an item is, decoded as training would; `UserError` for one that cannot be read."""

    def field_of(self, path: Path) -> str | None:
        """The modality of a file with a doubtful suffix by its content, None where that does not say."""
        return None

    def first(self, items: Sequence[Item]) -> First:
        """What a first configuration says of these items; a large data set gives some of its items only."""
        return First(f"{{kind: {self.default_encoder().model_dump()['kind']}}}", cost=0.3)

    def said_of(self, options: Config) -> dict[str, Any]:
        """What the features of an item depend on of its options, random changes left out."""
        return options.model_dump(mode="json", exclude={"augment"})

    damages: ClassVar[tuple[type[Damage], ...]] = ()
    """How its items may be damaged on purpose, to measure what a model bears."""

    @abstractmethod
    def view(self, value: Tensor, seen: Seen) -> View:
        """An item's value `(L, …)`, without padding, as its encoder's tokens."""

    @abstractmethod
    def small(self, item: Item) -> Small:
        """An item as a page shows it; any error for one that cannot be read."""

    def written(self, item: Item) -> Any:
        """What the field of a JSONL row holds for an item that is no file; the inverse of `items`."""
        if isinstance(item, Blob):
            right = "Write it as a file, and name that in the manifest."
            raise UserError(f"JSONL cannot hold the bytes of {item.name}", right=right)
        return item

    def told(self, item: Item) -> str:
        """An item in a few words: what a table or a command line says of it."""
        return str(item)

    def typical(self, options: Any, *, seconds: float, words: int) -> int:
        """The length of a usual item: so many seconds, so many words."""
        return 1

    def default_encoder(self) -> Config:
        """The encoder where nothing is said."""
        return validated(self.encoders, {}, ("encoders", self.name))


def stacked(
    values: Sequence[Shaped[Tensor, "_ ..."]], empty: Shaped[Tensor, "_ ..."], fill: int | float = 0
) -> Shaped[Tensor, "R L ..."]:
    """Sequences `(L, ...)` side by side, padded behind with `fill`; `empty` gives type, trailing shape and the least length."""
    longest = max([len(empty), *(len(value) for value in values)])
    padded = empty.new_full((len(values), longest, *empty.shape[1:]), fill)
    for row, value in zip(padded, values, strict=True):
        row[: len(value)] = value
    return padded


def listed(value: Any) -> list[Any]:
    """A list as it is; a text that is a JSON list is that list; anything else as the only one of a list."""
    if isinstance(value, str) and value[:1] + value.rstrip()[-1:] == "[]":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return value if isinstance(value, list) else [value]


def path_of(name: Any, field: Field) -> Path | Blob:
    """The file that a value names, or what it holds as bytes (`{"bytes": …, "path": …}` in tables of Hugging Face)."""
    if isinstance(name, Mapping) and set(name) <= {"bytes", "path"}:
        data, path = name.get("bytes"), name.get("path")
        name = data if isinstance(data, bytes) else path
        if isinstance(name, bytes) and isinstance(path, str) and path:
            return Blob(name, path)
    if isinstance(name, bytes) and name:
        return Blob(name, f"the bytes of {field.name}")
    if isinstance(name, str | Path) and str(name):
        return field.find(str(name))
    raise TypeError


def digest_of_item(item: Hashable, size: int) -> bytes:
    """A digest of an item that is no file, by what it holds."""
    data = item.data if isinstance(item, Blob) else repr(item).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=size).digest()


def spread(values: Sequence[float], unit: str, *, digits: int) -> str:
    """Lowest, highest and middle in words; one figure where all are alike."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}, median {middle}"
