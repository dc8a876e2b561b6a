"""What the embedded data are: counts, baselines, and the card that says it in words.

In: the rows, the lengths of the clips, the audition.
Out: the summary (plain data) and the text of `DATA.md`.
Invariant: every figure of the card is counted from the rows, none is typed in.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from plait.demo.rows import (
    HELD_OUT_ACCENTS,
    LARGEST_HELD_OUT_FAMILY,
    PATTERNS,
    SPLITS,
    TUNE_PICTURES,
    UNHEARD_SHARES,
    Row,
)
from plait.demo.speech import ACCENTS, HUMAN, SAMPLE_RATE, Audition

QUESTION_KEYS: dict[str, Callable[[Row], Hashable]] = {
    "kind": lambda row: row.asked.clause.kind,
    "clause": lambda row: row.asked.clause,
    "clause and words": lambda row: (row.asked.clause, row.asked.filler),
    "sentence": lambda row: row.asked.words,
}


def most_frequent(answers: Sequence[str]) -> str:
    """The most frequent answer; the first in the alphabet where several are."""
    return min(Counter(answers).items(), key=lambda item: (-item[1], item[0]))[0]


def question_only(train: Sequence[Row], test: Sequence[Row], key: Callable[[Row], Hashable]) -> float:
    """How many test answers the question alone gets right: the most frequent training answer to the same `key`."""
    answers: dict[Hashable, list[str]] = {}
    for row in train:
        answers.setdefault(key(row), []).append(row.asked.answer)
    guesses = {name: most_frequent(given) for name, given in answers.items()}
    constant = most_frequent([row.asked.answer for row in train])
    return statistics.fmean(guesses.get(key(row), constant) == row.asked.answer for row in test)


def summarise(made: Sequence[Row], seconds: Sequence[float], heard: Audition) -> dict[str, Any]:
    """What there is, counted."""
    of = {split: [row for row in made if row.split == split] for split in SPLITS}
    by_key = {name: question_only(of["train"], of["test"], key) for name, key in QUESTION_KEYS.items()}
    words = {word for row in made for word in row.asked.words.split()} | {row.asked.answer for row in made}
    lengths = sorted(seconds)
    return {
        "rows": {split: len(part) for split, part in of.items()},
        "patterns": {split: dict(sorted(Counter(row.pattern for row in part).items())) for split, part in of.items()},
        "unheard": {split: sum(row.unheard for row in part) for split, part in of.items()},
        "sentences": {split: len({row.asked.words for row in part}) for split, part in of.items()},
        "pictures": {split: len({row.picture.file for row in part}) for split, part in of.items()},
        "voices": {split: len({row.clip.voice for row in part if row.clip}) for split, part in of.items()},
        "variants": {
            split: sorted({row.clip.voice.split("+")[1] for row in part if row.clip}) for split, part in of.items()
        },
        "refused_variants": heard.refused,
        "words": len(words),
        "clips": len(lengths),
        "clip_seconds": (
            {"total": sum(lengths), "median": statistics.median(lengths), "p90": lengths[int(0.9 * len(lengths))]}
            if lengths
            else None
        ),
        "answers": {split: dict(Counter(row.asked.answer for row in part).most_common()) for split, part in of.items()},
        "baselines": {
            "constant": question_only(of["train"], of["test"], lambda _: None),
            "question_only": max(by_key.values()),
            "question_only_by": by_key,
        },
        "examples": [row.id for row in examples(of["test"])],
    }


def examples(test: Sequence[Row]) -> list[Row]:
    """Test rows worth showing: one of each kind of question, spoken and unheard where there is such a row."""
    shown = []
    for kind in ("shape", "color", "yes_no"):
        of_kind = [row for row in test if row.asked.clause.kind == kind]
        shown += sorted(of_kind, key=lambda row: (row.pattern != "spoken", not row.unheard, row.id))[:1]
    return shown


def table(summary: dict[str, Any]) -> str:
    """The counts, one line per split."""
    lines = [
        "| split | rows | spoken / typed / both | unheard sentences | sentences | pictures | voices |",
        "|---" * 7 + "|",
    ]
    for split in SPLITS:
        patterns = " / ".join(f"{summary['patterns'][split].get(name, 0):,}" for name in PATTERNS)
        counts = [summary[name][split] for name in ("unheard", "sentences", "pictures", "voices")]
        cells = [split, f"{summary['rows'][split]:,}", patterns, *(f"{count:,}" for count in counts)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speech_words(summary: dict[str, Any]) -> str:
    """What the card says of the speech."""
    if not summary["clip_seconds"]:
        return "There was no speech engine when these data were made, so all questions are typed."
    accents = ", ".join(a for a in ACCENTS if all(a not in held for held in HELD_OUT_ACCENTS.values()))
    refused = "; ".join(f"{name} ({why})" for name, why in summary["refused_variants"].items()) or "none"
    length = summary["clip_seconds"]
    return f"""\
{summary["clips"]:,} recordings, one for each spoken question: {length["total"] / 3600:.1f} hours, median {length["median"]:.2f} s,
90 % under {length["p90"]:.2f} s; {SAMPLE_RATE:,} Hz, mono, 16-bit WAV; silence around the speech is trimmed, the peak
is the same everywhere. A voice is an accent with a variant; rate and pitch are drawn for each recording.

- Training: accents {accents}; variants {", ".join(summary["variants"]["train"])}.
- Tuning: accent {", ".join(HELD_OUT_ACCENTS["tune"])}; variants {", ".join(summary["variants"]["tune"])}.
- Test: accents {", ".join(HELD_OUT_ACCENTS["test"])}; variants {", ".join(summary["variants"]["test"])}.
- No accent and no variant of one split is in another. Variants that share a name (`steph`, `steph2`) are held out
  together; families of more than {LARGEST_HELD_OUT_FAMILY} are in training.
- A variant is used if it is audible, not clipped, at a usual pace, not the double of another, and keeps its first two
  formants within {HUMAN[0]} to {HUMAN[1]} % of the plain voice's, where human voices lie. Refused: {refused}."""


def write_card(summary: dict[str, Any], seed: int) -> str:
    """The text of `DATA.md`."""
    baselines = summary["baselines"]
    by_key = ", ".join(f"{value:.1%} by {name}" for name, value in baselines["question_only_by"].items())
    return f"""\
# The embedded data of Plait

**The pictures and the speech are synthetic.** The pictures are drawn by a program, the questions are spoken by a speech
synthesiser, and the language has {summary["words"]} words. Figures on them say that the program works, and compare one
model with another; they say nothing about photographs or people's voices.

A row is a picture of one coloured shape and a question about it, spoken, typed or both; to be said: what was asked
(`heard`) and the `answer`. Tags name the pattern, whether training heard the sentence, and the kind of question. Seed
{seed}.

{table(summary)}

## Sources
- Pictures: easy-vqa 1.0 (MIT, Victor Zhou), 64 × 64 pixels, its own two parts kept. What a picture shows was found from
  the package's questions and answers; pictures for which these leave it open are not used.
- Questions: composed by Plait (`plait/demo/language.py`): carrier phrase × clause × shape and colour words.
- Speech: the program eSpeak NG (GPL-3), used as a speaker and not part of Plait; from the package espeakng-loader.

## What is held out
- Pictures: easy-vqa's test part is the test; {TUNE_PICTURES:.0%} of its training part are for tuning.
- Sentences: {UNHEARD_SHARES["test"]:.0%} of the test rows and {UNHEARD_SHARES["tune"]:.0%} of the tuning rows ask in a
  sequence of words that no training row has (tag `sentence: unheard`). Each is a new triple of carrier, clause and
  filling words, whose pairs are all in training. The others (`heard`) were spoken in training.
- Voices: whole accents and whole variants, below.

## Speech
{speech_words(summary)}

## What is reached without the picture (test)
- Always the most frequent training answer: {baselines["constant"]:.1%}.
- From the question alone: {baselines["question_only"]:.1%}, the best of {by_key}.
"""
