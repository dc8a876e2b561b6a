"""What a run was trained on, as a few digits: a resumed run and the runs of a comparison must have had the same samples.

In: training samples in order, the folder of their manifest, the data's configuration.
Out: a fingerprint of four digests: of ids, texts and names of files (all that the first format of runs knew); with the files' paths
seen from the manifest's folder; with absolute paths outside of it; of the labels that samples are drawn or weighed by.
Invariant: data may move, as a whole or the manifest's folder alone; a fingerprint of the first format is compared by what it knows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from plait.data.config import DataConfig
from plait.data.plan import labels_of
from plait.modalities.base import digest_of_item
from plait.types import FIRST, Sample

PARTS = 4


def fingerprint(samples: Sequence[Sample], folder: Path, data: DataConfig) -> str:
    """The fingerprint of training samples. `data`: as the run's balance has them drawn and weighed."""
    inside = os.path.abspath(folder)  # noqa: PTH100 - links are not followed: neither are they in the samples' paths
    digests = [blake2b(digest_size=16) for _ in range(PARTS)]
    for sample in samples:
        media = sample.files
        relative = [Path(os.path.relpath(path, inside)).as_posix() for path in media]
        own = [
            name if not name.startswith("../") else path.as_posix() for name, path in zip(relative, media, strict=True)
        ]
        for digest, names in zip(digests, ([path.name for path in media], relative, own), strict=False):
            row: list[object] = [
                sample.id,
                sample.text,
                [dict(r) for r in sample.references],
                names,
                dict(sample.groups),
            ]
            others = {name: named(items) for name, items in sample.inputs.items() if name not in FIRST}
            row += [others] if others else []
            digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    for config in (data.sampling, data.weights):
        labels = None if config is None else labels_of(samples, config)
        digests[-1].update(json.dumps(labels, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return ":".join(digest.hexdigest() for digest in digests)


def named(items: Sequence[object]) -> list[str | None]:
    """The items of an input that has a name of its own; files are told of beside them."""
    return [None if isinstance(i, Path) else i if isinstance(i, str) else digest_of_item(i, 16).hex() for i in items]


def is_same(kept: str, now: str) -> bool:
    """Whether a kept fingerprint, perhaps of the first format, is that of the samples of now."""
    before, after = kept.split(":"), now.split(":")
    if len(before) < PARTS:
        return before[0] == after[0]
    plain, relative, own, labels = (one == other for one, other in zip(before, after, strict=False))
    return plain and (relative or own) and labels


def alike(kept: Sequence[str]) -> list[str]:
    """Fingerprints of runs to be compared with each other: which samples they had, however they were drawn and weighed."""
    first_only = any(len(one.split(":")) < PARTS for one in kept)
    return [one.split(":")[0 if first_only or len(one.split(":")) < PARTS else 1] for one in kept]
