"""Kinds of samples, for which an evaluation gives figures of their own: one for each value of each tag, and for pairs of them.

In: samples; the tags to go by.
Out: `TAG=VALUE` and `TAG=VALUE,TAG=VALUE` → which samples.
Invariant: two kinds never share a name, whatever tags and values are called; `inputs` means the modalities of a sample, unless the
data have a tag of that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from plait.errors import UserError, did_you_mean
from plait.evaluate.inputs import set_name
from plait.types import Sample

INPUTS = "inputs"
"""What `by` calls the inputs that a sample has, as if they were a tag."""

MAX_VALUES = 20
"""A tag with more values than this is no kind of sample but a name."""

_BETWEEN = re.compile(r",(?=[^,=]+=)")


class Kind(NamedTuple):
    """The samples that have one value of a tag."""

    tag: str
    value: str
    mask: Bool[np.ndarray, " n"]

    @property
    def name(self) -> str:
        """`TAG=VALUE`."""
        return f"{self.tag}={self.value}"

    @property
    def quoted(self) -> str:
        """The same in quotes, for names that would be another kind's as well."""
        return "=".join(json.dumps(part, ensure_ascii=False) for part in (self.tag, self.value))


def inputs_of(sample: Sample) -> str:
    """`image+audio`, or `none`."""
    return set_name(sample.present) if sample.present else "none"


def patterns_of(
    samples: Sequence[Sample], by: Sequence[str] | None, *, pairs: bool = True
) -> tuple[dict[str, Bool[np.ndarray, " n"]], tuple[str, ...]]:
    """The samples of each value of each tag, with `pairs` of each pair of values of two tags, by name; and what was left out."""
    known = list(dict.fromkeys(name for sample in samples for name in sample.tags))
    own = {} if INPUTS in known else {INPUTS: [inputs_of(sample) for sample in samples]}
    tags = [{**sample.tags, **{name: values[i] for name, values in own.items()}} for i, sample in enumerate(samples)]
    notes = []
    if by is None:
        inputs_differ = len(set(own.get(INPUTS, ()))) > 1
        wanted = known or ([INPUTS] if inputs_differ else [])
    else:
        wanted = list(dict.fromkeys(by))
        if INPUTS in wanted and INPUTS in known:
            notes.append("figures by inputs are by the tag of that name, not by the inputs of the samples")
    kinds: list[list[Kind]] = []
    for name in wanted:
        if name not in known and name != INPUTS:
            raise UserError(
                f"no tag {name!r} in the samples", where="evaluate.by", right=did_you_mean(name, [*known, INPUTS])
            )
        values = sorted({tag[name] for tag in tags if name in tag})
        if len(values) > MAX_VALUES:
            notes.append(f"no figures by {name}: it has {len(values)} values, more than {MAX_VALUES}")
            continue
        kinds.append(
            [Kind(name, value, np.asarray([tag.get(name) == value for tag in tags], dtype=bool)) for value in values]
        )
    return named(kinds, pairs=pairs), tuple(notes)


def named(kinds: Sequence[Sequence[Kind]], *, pairs: bool) -> dict[str, Bool[np.ndarray, " n"]]:
    """The kinds of each tag by name, with `pairs` also those of two tags that have a sample in common."""
    found: dict[str, np.ndarray] = {}
    for kind in (kind for of_tag in kinds for kind in of_tag):
        found[kind.quoted if kind.name in found else kind.name] = kind.mask
    for first, second in combinations(kinds, 2) if pairs else ():
        for a, b in ((x, y) for x in first for y in second):
            if (a.mask & b.mask).any():
                name = f"{a.name},{b.name}"
                found[f"{a.quoted},{b.quoted}" if name in found else name] = a.mask & b.mask
    return found


def parts_of(pattern: str) -> list[str]:
    """The kinds that a name is made of: one or two."""
    return _BETWEEN.split(pattern)
