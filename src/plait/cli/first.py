"""What a data set looks like from outside, and the first configuration that follows from it.

In: a manifest or a folder of media.
Out: `look` → `Found`; `first_yaml` → the text of a YAML file, a comment behind every line.
Invariant: only headers of media are read, and the beginnings of a few recordings, so a large data set is looked at in seconds;
what is written reads back as a configuration, and states nothing that was not found in the data or is not Plait's default.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from plait.data.config import DataConfig
from plait.data.manifest import Dataset, read_manifest
from plait.data.suffixes import PHONE, PHONE_IMAGES, PHONE_SOUNDS
from plait.data.words import CJK
from plait.modalities.audio.decoding.reading import beginning_of, seconds_of
from plait.modalities.image.decoding.decode import size_of
from plait.types import Sample

MOST_FILES = 2_000
"""Headers read per modality, spread evenly over the data."""

SMALL = 5_000
"""With fewer samples to train on, a model of this size learns them by heart: then training ends early."""

ENOUGH = 20
"""Groups of the test split under which intervals cover less often than they say (plait.evaluate.statistics)."""

MOST_HEARD, HEARD_SECONDS = 50, 5.0
"""Recordings of which the beginning is listened to, and how much of it."""

LONGEST = 60.0
"""Seconds up to which the longest recording sets the limit."""

WORD = re.compile(rf"[{CJK}]|[^\W_]+(?:[-'’][^\W_]+)*|[^\w\s]")
CHINESE = re.compile(f"[{CJK}]")
KANA = re.compile("[\u3040-\u30ff]")


class Texts(NamedTuple):
    """All training texts in numbers: words in all, distinct ones, the share of words seen once, the longest target."""

    words: int
    distinct: int
    once: float
    characters: int
    chinese: float
    kana: float
    longest_target: int


@dataclass(frozen=True)
class Found:
    """What was found: the samples, pictures' (columns, rows), recordings' seconds, and the texts in numbers.

    `opposite`: of so many stereo recordings (the second number), those whose channels cancel when they are averaged.
    """

    dataset: Dataset
    sizes: Sequence[tuple[int, int]]
    seconds: Sequence[float]
    texts: Texts
    allow_outside: bool
    opposite: tuple[int, int] = (0, 0)

    @property
    def train(self) -> list[Sample]:
        """The samples to train on."""
        return self.dataset.split("train", needed=True)

    @property
    def example(self) -> Sample:
        """A sample to ask about: one of the test split where there is one."""
        return (self.dataset.split("test") or self.dataset.split("tune") or self.train)[0]

    @property
    def left_out(self) -> Counter[str]:
        """Rows that cannot be used, by reason; files that belong to no row do not count."""
        return Counter(left.code for left in self.dataset.gone)

    def lines(self) -> list[str]:
        """In words."""
        data = self.dataset
        splits = Counter(sample.split for sample in data.samples)
        counts = {m: sum(sample.has(m) for sample in data.samples) for m in data.modalities}
        drawn = ", drawn: the data name none" if data.drawn else ""
        lines = [
            f"{data.path}: {len(data.samples)} samples",
            f"  splits    {', '.join(f'{name} {splits[name]}' for name in ('train', 'tune', 'test') if splits[name])}{drawn}",
            f"  inputs    {', '.join(f'{m} {n}' for m, n in counts.items()) or 'none: next-word prediction'}",
            f"  segments  {', '.join(data.segments)}",
        ]
        if few := self.few_groups():
            lines.append(
                f"  test      only {few}: with fewer than {ENOUGH}, intervals are wide and comparisons tell little; "
                "add data, or change data.split.fractions"
            )
        if self.sizes:
            lines.append(
                f"  pictures  shorter side {spread([float(min(size)) for size in self.sizes], 'pixels', digits=0)}"
            )
        if self.seconds:
            lines.append(f"  sounds    {spread(self.seconds, 'seconds', digits=1)}")
        texts = self.texts
        lines.append(f"  words     {texts.words:,}, {texts.distinct:,} different ones")
        for code, number in self.left_out.items():
            first = next(left for left in data.left_out if left.code == code)
            lines.append(f"  left out  {number} ({code}), the first at {first.where}: {first.reason}")
        lines += [f"  note      {line}" for line in (*data.warnings, *self.needed())]
        if self.opposite[0]:
            cancel, stereo = self.opposite
            lines.append(
                f"  note      left and right cancel each other in {cancel} of {stereo} stereo recordings; the configuration reads "
                "the left channel (data.audio.channel)"
            )
        return lines

    def needed(self) -> list[str]:
        """What has to be installed for some of the files to be read."""
        files = [path for sample in self.dataset.samples for path in (*sample.image, sample.audio) if path is not None]
        suffixes = Counter(suffix for path in files if (suffix := path.suffix.lower()) in PHONE)
        packages = {"pillow_heif": PHONE_IMAGES, "av": PHONE_SOUNDS}
        lacking = [name for name in packages if importlib.util.find_spec(name) is None]
        unread = [s for name in lacking for s in packages[name] if suffixes[s]]
        if not unread:
            return []
        listed = ", ".join(f"{suffixes[suffix]} {suffix}" for suffix in unread)
        return [f"{listed}: to be read they need pip install 'plait[phone]'"]

    def few_groups(self) -> str:
        """The grouping with the fewest groups in the test split, if they are too few for an interval to hold."""
        test = self.dataset.split("test")
        groups = {name: {s.groups.get(name) for s in test} for name in sorted({n for s in test for n in s.groups})}
        counts = [(f"groups by {name}", len(of)) for name, of in groups.items()] or [("samples", len(test))]
        name, number = min(counts, key=lambda one: one[1])
        name = name if number > 1 else name.replace("groups", "group").replace("samples", "sample")
        return f"{number} {name}" if 0 < number < ENOUGH else ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        data = self.dataset
        return {
            "manifest": str(data.path),
            "samples": len(data.samples),
            "splits": dict(Counter(sample.split for sample in data.samples)),
            "splits_drawn": data.drawn,
            "inputs": {m: sum(sample.has(m) for sample in data.samples) for m in data.modalities},
            "segments": list(data.segments),
            "words": self.texts.words,
            "distinct_words": self.texts.distinct,
            "left_out": dict(self.left_out),
        }


def spread(values: Sequence[float], unit: str, *, digits: int) -> str:
    """Lowest, highest and middle in words; one figure where all are alike."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}, median {middle}"


def look(path: Path, *, allow_outside: bool = False) -> Found:
    """Read the manifest, leaving out what cannot be used, and the headers of the media."""
    most = DataConfig.model_fields["max_left_out"].default
    dataset = read_manifest(path, allow_outside=allow_outside, on_error="skip", max_left_out=most)
    train = dataset.split("train", needed=True)
    pictures = [picture for sample in dataset.samples for picture in sample.image]
    sounds = [sample.audio for sample in dataset.samples if sample.audio]
    sizes = [(found.columns, found.rows) for file in evenly(pictures) if (found := size_of(file))]
    seconds = [length for file in evenly(sounds) if (length := seconds_of(file))]
    return Found(dataset, sizes, seconds, read_texts(train), allow_outside, opposite_channels(sounds))


def evenly(files: Sequence[Path]) -> Sequence[Path]:
    """At most `MOST_FILES` of them."""
    return files[:: max(1, math.ceil(len(files) / MOST_FILES))]


def opposite_channels(sounds: Sequence[Path]) -> tuple[int, int]:
    """Of the recordings whose beginnings are listened to: those of opposite channels (left = −right), and those of two."""
    listened = sounds[:: max(1, math.ceil(len(sounds) / MOST_HEARD))]
    found = [one for path in listened if (one := beginning_of(path, seconds=HEARD_SECONDS)) and one.channels == 2]
    return sum(one.opposite for one in found), len(found)


def read_texts(samples: Sequence[Sample]) -> Texts:
    """The texts of the training samples in numbers."""
    words: Counter[str] = Counter()
    characters = chinese = kana = longest = 0
    for sample in samples:
        targets = [text for reference in sample.references for text in reference.values()]
        longest = max([longest, *(len(WORD.findall(text)) for text in targets)])
        for text in (*targets, sample.text or ""):
            words.update(WORD.findall(text.lower()))
            characters += len(text)
            chinese += len(CHINESE.findall(text))
            kana += len(KANA.findall(text))
    total = max(sum(words.values()), 1)
    once = sum(number == 1 for number in words.values()) / total
    return Texts(total, len(words), once, characters, chinese / max(characters, 1), kana / max(characters, 1), longest)


# -- what follows from it --


def first_yaml(found: Found, out: Path, extra: Sequence[str] = ()) -> str:
    """The configuration, commented; `extra` are overrides that the user gave."""
    given = dict(item.split("=", 1) for item in extra)
    data = found.dataset
    size = len(found.train)
    title = "a picture of what it reads" if data.modalities else "next-word prediction"
    head = [
        f"# A first run on {data.path.name}: {', '.join(data.modalities) or title} → {', '.join(data.segments)}.",
        f"# {size} samples to train on. `plait schema --out plait.json` writes a schema that lets editors complete this file;",
        "# whatever is left out has its default. Any line can be changed for one run: plait train FILE train.steps=500",
    ]
    return "\n".join(
        [
            *head,
            *commented(data_lines(found, out)),
            *commented(model_lines(found)),
            *commented(train_lines(found, given)),
            *commented([("evaluate:", ""), *metric_lines(data.segments)]),
            *commented([(f"seed: {given.get('seed', 0)}", "of every random draw")]),
            "",
        ]
    )


def commented(lines: Sequence[tuple[str, str]]) -> list[str]:
    """A block with its comments in one column."""
    column = min(max(len(line) for line, _ in lines) + 2, 60)
    return ["", *(f"{line:<{column}}# {comment}" if comment else line for line, comment in lines)]


def flow(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).strip()
    return text.removesuffix("\n...").strip()


def data_lines(found: Found, out: Path) -> list[tuple[str, str]]:
    """The section `data`."""
    data = found.dataset
    manifest = os.path.relpath(data.path.resolve(), out.parent.resolve())
    tokenizer, why = tokenizer_for(found.texts)
    inputs = list(data.modalities)
    lines = [
        ("data:", ""),
        (f"  manifest: {flow(manifest)}", "JSONL, CSV, TSV, Parquet, or a folder of media; relative to this file"),
        (f"  inputs: {flow(inputs)}", "any of what was found; fewer, to see what one brings"),
        (f"  segments: {flow(list(data.segments))}", "what the model says, in this order"),
        (f"  tokenizer: {flow(tokenizer)}", why),
    ]
    if "image" in data.modalities:
        resize, shape = resize_for(found.sizes)
        side = image_size(found)
        lines.append(
            (
                f"  image: {{size: {side}, resize: {resize}}}",
                f"{shape}; size 96, 128, … sees more, costs (size/{side})²",
            )
        )
    if "audio" in data.modalities:
        limit, why = max_seconds(found.seconds)
        cancel, stereo = found.opposite
        one, because = "", "augment: {time_masks: 2, mel_masks: 2} helps small data"
        if cancel:
            one = ", channel: left"
            because = f"left and right cancel each other in {cancel} of {stereo} stereo recordings listened to"
        lines.append((f"  audio: {{max_seconds: {limit}{one}}}", f"{why}; {because}"))
    longest = found.texts.longest_target * (8 if tokenizer["kind"] == "character" else 2)
    if longest > 256:
        lines.append(
            (
                f"  max_target_tokens: {2 ** math.ceil(math.log2(longest))}",
                f"the longest target has {found.texts.longest_target} words",
            )
        )
    if data.drawn:
        lines.append(
            ("  split: {fractions: {train: 0.8, tune: 0.1, test: 0.1}}", "drawn by group; or give the rows a split")
        )
    if found.allow_outside:
        lines.append(("  allow_outside: true", "paths may leave the manifest's folder"))
    if data.reading and data.path.suffix.lower() in (".csv", ".tsv"):
        lines.append(
            (
                "  quoting: auto",
                "how quotes in the table are read, see above; or literal (they are part of the text), csv",
            )
        )
    if found.left_out or any(second > limit_of(found.seconds) for second in found.seconds):
        lines.append(("  on_error: skip", "rows that cannot be used are left out and listed in the run; or stop"))
    return lines


def tokenizer_for(texts: Texts) -> tuple[dict[str, Any], str]:
    """The tokenizer that suits the texts, and why."""
    if texts.chinese > 0.3:
        jieba = any(importlib.util.find_spec(name) for name in ("rjieba", "jieba"))
        if jieba and texts.kana < 0.05:
            return {"kind": "word", "language": "zh"}, "Chinese words by jieba; or {kind: character}"
        return {"kind": "character"}, "or {kind: word, language: zh} with pip install 'plait[zh]', or {kind: bpe}"
    if texts.distinct <= 5_000 and texts.once <= 0.05:
        return {"kind": "word"}, f"{texts.distinct} different words; or character, or {{kind: bpe, size: 4000}}"
    share = f"{texts.once:.0%} of the words are seen once"
    if texts.characters < 100_000:
        return {
            "kind": "character"
        }, f"{share}, and texts are few; or word (they will be unknown), or {{kind: bpe, size: 1000}}"
    return {"kind": "bpe", "size": 4000 if texts.words < 1_000_000 else 16000}, f"{share}; or word, or character"


def image_size(found: Found) -> int:
    """Rows and columns that the model sees."""
    sides = [min(size) for size in found.sizes]
    if sides and median(sides) <= 40:
        return 32
    return 64


def resize_for(sizes: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """How pictures become square, and why."""
    ratios = [max(size) / max(min(size), 1) for size in sizes]
    if ratios and median(ratios) > 1.6:
        return "pad", "long pictures are padded; or squash, or crop"
    return "squash", "squash to a square; or crop, or pad"


def limit_of(seconds: Sequence[float]) -> int:
    """The limit of a recording's length."""
    longest = max(seconds, default=30.0)
    return max(1, math.ceil(longest)) if longest <= LONGEST else 30


def max_seconds(seconds: Sequence[float]) -> tuple[int, str]:
    """The limit, and why."""
    limit = limit_of(seconds)
    long = sum(second > limit for second in seconds)
    if long:
        return limit, f"{long} recordings are longer and are left out (on_error)"
    return limit, f"the longest has {max(seconds, default=0):.1f} s; a longer one is refused"


def model_lines(found: Found) -> list[tuple[str, str]]:
    """The sections of the model."""
    modalities = found.dataset.modalities
    dropout = 0.1 if len(found.train) < SMALL else 0.0
    lines = [("width: 128", "of every part; 256 learns more and costs about three times as much")]
    if modalities:
        lines.append(("encoders:", ""))
    if "text" in modalities:
        lines.append(
            (
                "  text: {kind: transformer, layers: 2}",
                "embedding: {kind: word2vec} or {kind: glove} trains word vectors first",
            )
        )
    if "image" in modalities:
        lines.append(("  image: {kind: resnet}", "or vit, vgg, alexnet (weights: FILE loads torchvision's)"))
    if "audio" in modalities:
        lines.append(
            (
                "  audio: {kind: transformer, layers: 2}",
                "convolutions, then self-attention; causal: true hears only the past",
            )
        )
    if modalities:
        lines.append(("fusion: {kind: concat, align: attend, at: 1}", "or product, attention, prefix, cross_attention"))
    lines.append((f"lm: {{kind: transformer, layers: 2, dropout: {dropout}}}", "or lstm, gru, rnn"))
    return lines


def train_lines(found: Found, given: dict[str, str]) -> list[tuple[str, str]]:
    """The section `train`."""
    size = len(found.train)
    batch = 64 if size >= 640 else max(1, min(32, size))
    steps = num_steps(found, batch)
    every = max(10, 10 * round(steps / 200))
    lines = [
        ("train:", ""),
        (
            f"  steps: {steps}",
            f"{steps * batch / size:.0f} times through the data; the time it takes is said before the first step",
        ),
        (f"  batch_size: {batch}", "larger is smoother; micro_batch_size cuts it up where memory is short"),
        ("  learning_rate: 1e-3", "at its height, after warm-up; 3e-4 for wider models"),
        (f"  evaluate_every: {every}", "steps between two looks at the tune split"),
    ]
    if size < SMALL and found.dataset.split("tune"):
        lines.append(("  patience: 5", "end after so many looks without a better one: the data are small"))
    if len(found.dataset.modalities) > 1:
        lines.append(
            ("  modality_dropout: 0.1", "chance that a sample loses an input, so that none is leaned on alone")
        )
    lines += [
        (f"  {key.removeprefix('train.')}: {value}", "") for key, value in given.items() if key.startswith("train.")
    ]
    return lines


def num_steps(found: Found, batch: int) -> int:
    """Steps for some minutes on a CPU, and at most 40 times through the data."""
    modalities = found.dataset.modalities
    cost = 0.2 * max(found.texts.longest_target / 12, 1)
    if "image" in modalities:
        cost += 0.5 * (image_size(found) / 64) ** 2
    if "audio" in modalities:
        cost += 0.3 * median(found.seconds or [2.5]) / 2.5
    affordable = 700 / cost * 64 / batch
    steps = min(affordable, 40 * len(found.train) / batch, 3_000)
    return max(50, int(round(steps, -1)))


def metric_lines(segments: Sequence[str]) -> list[tuple[str, str]]:
    """The section `evaluate`."""
    example = json.dumps({segments[-1]: ["accuracy", "cer"]}).replace('"', "")
    return [
        ("  split: test", "or tune, train"),
        ("  metrics: null", f"chosen by the references; or {example}, wer, bleu, chrf, rouge_l, cider_d"),
    ]
