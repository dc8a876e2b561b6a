"""How large things are: lengths as histograms, and the largest batch.

In: `Checked`.
Out: `Histogram`s and one `WorstBatch` per kind of input and for the target.
Invariant: the largest batch is one that training can meet: the `batch_size` largest rows of `train`, padded.
"""

from __future__ import annotations

from collections.abc import Iterator

from plait.data.check.checked import Checked
from plait.data.check.files import ImageFacts, SoundFacts
from plait.data.check.report import Histogram, WorstBatch, histogram
from plait.data.check.texts import target_field
from plait.modalities.audio.prepare import num_frames


def histograms(checked: Checked) -> Iterator[Histogram]:
    """Lengths of texts, targets, recordings and sizes of pictures."""
    lengths: dict[tuple[str, str], list[float | int]] = {}
    for sample in checked.samples:
        if sample.text:
            lengths.setdefault(("text", checked.unit), []).append(checked.count(sample.text))
        for reference in sample.references:
            for segment, text in reference.items():
                lengths.setdefault((target_field(segment), checked.unit), []).append(checked.count(text))
    for use, facts in checked.facts.items():
        if isinstance(facts, SoundFacts):
            lengths.setdefault((use.modality, "seconds"), []).append(round(facts.seconds, 3))
        elif isinstance(facts, ImageFacts):
            for side, size in (("width", facts.width), ("height", facts.height)):
                lengths.setdefault((f"{use.modality} {side}", "pixels"), []).append(size)
    for (name, unit), values in lengths.items():
        one = histogram(name, unit, values)
        if one is not None:
            yield one


def worst_batch(checked: Checked) -> Iterator[WorstBatch]:
    """Per kind of input, and for the target: the numbers in a padded batch of the largest training samples."""
    config = checked.config
    numbers = {"text": 1, "image": 3 * config.image.size**2, "audio": config.audio.num_mels, "target": 1}
    units = {"text": checked.unit, "image": "pictures", "audio": "frames", "target": checked.unit}
    lengths: dict[str, list[tuple[int, str]]] = {name: [] for name in numbers}
    for sample, uses in zip(checked.samples, checked.uses, strict=True):
        if sample.split != "train":
            continue
        if sample.text:
            lengths["text"].append((min(checked.count(sample.text), config.max_text_tokens), sample.where))
        if sample.references:
            lengths["target"].append((min(checked.target_length(sample), config.max_target_tokens), sample.where))
        found = [checked.facts[use] for use, _ in uses]
        images = sum(isinstance(facts, ImageFacts) for facts in found)
        frames = max((num_frames(facts.samples) for facts in found if isinstance(facts, SoundFacts)), default=0)
        lengths["image"] += [(images, sample.where)] * (images > 0)
        lengths["audio"] += [(frames, sample.where)] * (frames > 0)
    for name, of_name in lengths.items():
        if not of_name:
            continue
        largest = sorted(of_name, key=lambda one: -one[0])[: config.batch_size]
        longest, where = largest[0]
        padding = 1 - sum(length for length, _ in largest) / (len(largest) * longest) if longest else 0.0
        elements = len(largest) * longest * numbers[name]
        yield WorstBatch(name, len(largest), longest, units[name], elements, padding, where)
