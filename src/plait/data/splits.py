"""Which split a row belongs to: read from its word, or drawn by group for a manifest that names none.

In: the word of a `split` field; or, per row, its name and the keys that tie it to other rows (groups, media files).
Out: `train`, `tune` or `test`.
Invariant: rows that share a key never fall into two splits; the draw depends on the seed and on the names and keys of
the rows, never on their order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from pydantic import Field, field_validator

from plait.choices import Config
from plait.errors import UserError, did_you_mean
from plait.seeds import derive_seed

SPLITS = ("train", "tune", "test")

ALIASES = {
    "training": "train",
    "val": "tune",
    "valid": "tune",
    "validation": "tune",
    "dev": "tune",
    "tuning": "tune",
    "testing": "test",
}


class SplitConfig(Config):
    """How a manifest without a `split` field is split: rows that share a group or a media file stay together, seeded.

    `by` names the groupings that must not be parted (one or several); None = all that the manifest has. `shared` names groupings
    (or `image`, `audio`: files) that may stand in several splits where the rows themselves name their splits: no leakage is said.
    """

    by: str | tuple[str, ...] | None = None
    fractions: dict[Literal["train", "tune", "test"], float] = Field(default={"train": 0.8, "tune": 0.1, "test": 0.1})
    seed: int = 0
    shared: tuple[str, ...] = ()

    @field_validator("fractions")
    @classmethod
    def _a_distribution(cls, fractions: dict[str, float]) -> dict[str, float]:
        if any(not share >= 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError(f"fractions must be at least 0 and sum to 1, not {sum(fractions.values()):g}")
        if not fractions.get("train"):
            raise ValueError("the fraction of train must be above 0")
        return fractions

    @property
    def groupings(self) -> tuple[str, ...] | None:
        """The groupings of `by` as a tuple; None = all."""
        return (self.by,) if isinstance(self.by, str) else self.by


def split_name(word: str) -> str | None:
    """The split that a word means (`Validation` → `tune`), or None."""
    name = word.strip().lower()
    return name if name in SPLITS else ALIASES.get(name)


def known_split(word: str, *, where: str | None = None) -> str:
    """The split that a word means, or the user's mistake."""
    name = split_name(word)
    if name is None:
        hint = did_you_mean(word.strip().lower(), [*SPLITS, *ALIASES])
        raise UserError(f"split {word!r} is unknown", where=where, right=hint)
    return name


def components(keys: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """The rows that are tied together, directly or through others, by sharing a key (union-find)."""
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[Hashable, int] = {}
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            one, other = root(first.setdefault(key, row)), root(row)
            parent[max(one, other)] = min(one, other)
    found: dict[int, list[int]] = {}
    for row in range(len(keys)):
        found.setdefault(root(row), []).append(row)
    return list(found.values())


def draw_splits(names: Sequence[str], keys: Sequence[Iterable[Hashable]], config: SplitConfig) -> list[str]:
    """A split per row. With as many components as splits asked for, none of these splits is empty.

    Raises `UserError` where the keys tie the rows into fewer components than there are splits asked for.
    """
    fractions = {split: share for split, share in config.fractions.items() if share > 0}
    tied = components(keys)
    if len(tied) < len(fractions):
        raise UserError(
            f"the groups and shared files tie the {len(names)} rows into {len(tied)} "
            f"part{'s' * (len(tied) != 1)}, too few for {', '.join(fractions)}",
            right="Give the rows a `split` field, name fewer groupings in data.split.by, or set a fraction to 0.",
        )
    # Drawn in the order of a seeded hash of each part's first name, so that the order of the rows is irrelevant.
    drawn = sorted(tied, key=lambda rows: derive_seed(config.seed, "split", min(names[row] for row in rows)))
    # What is larger than a whole small split goes first, largest first: it ends in the split that has room for it.
    room = min(fractions.values()) * len(names)
    drawn.sort(key=lambda rows: -len(rows) if len(rows) > room else 0)
    parts: dict[str, list[list[int]]] = {split: [] for split in fractions}
    missing = {split: share * len(names) for split, share in fractions.items()}
    for rows in drawn:
        split = max(missing, key=lambda name: missing[name])
        parts[split].append(rows)
        missing[split] -= len(rows)
    for part in parts.values():
        if not part:  # tiny data: take the smallest part of the split that has the most
            giver = max(parts.values(), key=len)
            part.append(giver.pop(min(range(len(giver)), key=lambda place: len(giver[place]))))
    of_row = {row: split for split, part in parts.items() for rows in part for row in rows}
    return [of_row[row] for row in range(len(names))]
