"""The first configuration that follows from what a data set looks like.

In: `Found`.
Out: `first_yaml` → the text of a YAML file, a comment behind every line.
Invariant: what is written reads back as a configuration, and states nothing that was not found in the data or is not Plait's
default.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plait.cli.common import flow
from plait.cli.found import Found, Texts, look

SMALL = 5_000
"""With fewer samples to train on, a model of this size learns them by heart: then training ends early."""


def first_yaml(found: Found, out: Path, extra: Sequence[str] = ()) -> str:
    """The configuration, commented; `extra` are overrides that the user gave."""
    given = dict(item.split("=", 1) for item in extra)
    data = found.dataset
    size = len(found.train)
    reads = ", ".join(found.inputs) or "next-word prediction"
    head = [
        f"# A first run on {data.path.name}: {reads} → {', '.join(data.segments)}.",
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


def data_lines(found: Found, out: Path) -> list[tuple[str, str]]:
    """The section `data`."""
    data = found.dataset
    manifest = os.path.relpath(data.path.resolve(), out.parent.resolve())
    tokenizer, why = tokenizer_for(found.texts)
    lines = [
        ("data:", ""),
        (f"  manifest: {flow(manifest)}", "JSONL, CSV, TSV, Parquet, or a folder of media; relative to this file"),
        *input_lines(found),
        (f"  segments: {flow(list(data.segments))}", "what the model says, in this order"),
        (f"  tokenizer: {flow(tokenizer)}", why),
    ]
    lines += [(f"  {of}: {first.options}", first.why) for of, first in found.first.items() if first.options]
    longest = found.texts.longest_target * (8 if tokenizer["kind"] == "character" else 2)
    if longest > 256:
        why = f"the longest target has {found.texts.longest_target} words"
        lines.append((f"  max_target_tokens: {2 ** math.ceil(math.log2(longest))}", why))
    if data.drawn:
        fractions = "{fractions: {train: 0.8, tune: 0.1, test: 0.1}}"
        lines.append((f"  split: {fractions}", "drawn by group; or give the rows a split"))
    if found.allow_outside:
        lines.append(("  allow_outside: true", "paths may leave the manifest's folder"))
    if data.reading and data.path.suffix.lower() in (".csv", ".tsv"):
        why = "how quotes in the table are read, see above; or literal (they are part of the text), csv"
        lines.append(("  quoting: auto", why))
    if found.leaves_out:
        lines.append(("  on_error: skip", "rows that cannot be used are left out and listed in the run; or stop"))
    return lines


def input_lines(found: Found) -> list[tuple[str, str]]:
    """What is read, and where it stands in the data."""
    inputs = dict(found.inputs) if found.is_named else list(found.inputs)
    why = "any of what was found; fewer, to see what one brings"
    lines = [(f"  inputs: {flow(inputs)}", f"names of inputs, and what each is; {why}" if found.is_named else why)]
    if columns := dict(found.dataset.columns):
        lines.append((f"  columns: {flow(columns)}", "the fields of inputs that are called otherwise in the data"))
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


def model_lines(found: Found) -> list[tuple[str, str]]:
    """The sections of the model."""
    dropout = 0.1 if len(found.train) < SMALL else 0.0
    lines = [("width: 128", "of every part; 256 learns more and costs about three times as much")]
    if found.inputs:
        lines.append(("encoders:", ""))
    known: dict[str, str] = {}
    for name, of in found.inputs.items():
        first = found.first[of]
        why = f"or {{like: {known[of]}}}: one encoder for both" if of in known else first.encoder_why
        lines.append((f"  {name}: {first.encoder}", why or "the first of its kinds: plait schema lists them"))
        known.setdefault(of, name)
    if found.inputs:
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
    if len(found.inputs) > 1:
        lines.append(
            ("  modality_dropout: 0.1", "chance that a sample loses an input, so that none is leaned on alone")
        )
    lines += [
        (f"  {key.removeprefix('train.')}: {value}", "") for key, value in given.items() if key.startswith("train.")
    ]
    return lines


def num_steps(found: Found, batch: int) -> int:
    """Steps for some minutes on a CPU, and at most 40 times through the data."""
    cost = 0.2 * max(found.texts.longest_target / 12, 1)
    cost += sum(found.first[of].cost for of in found.inputs.values())
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


__all__ = ["Found", "Texts", "first_yaml", "look"]
