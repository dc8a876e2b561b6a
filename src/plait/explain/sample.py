"""One sample explained: where the fusion looked for each segment of its target, and what it needed.

In: a run and a sample.
Out: a `SampleExplanation`.
Invariant: features are computed once; what is hidden is hidden through their mask, as if the encoder had not given it, and
everything else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.errors import UserError
from plait.evaluate.answerer import RunAnswerer
from plait.explain.losses import segment_bits
from plait.explain.sample_result import InputView, SampleExplanation, attended_view
from plait.explain.views import input_views, views_of, windows, word_of
from plait.fusion.base import Attended
from plait.run import Run
from plait.types import IGNORED, Batch, Features, Sample

END = "<end>"
ONE = np.ones(1)
Hidden = tuple[str, list[int]]
"""Tokens of a modality that are hidden together."""


def find_sample(samples: Sequence[Sample], id: str, split: str | None = None) -> Sample:
    """The sample of this id; an unknown one is told with the nearest ids and where it was looked for."""
    searched = [sample for sample in samples if split is None or sample.split == split]
    for sample in searched:
        if sample.id == id:
            return sample
    splits = ", ".join(sorted({sample.split for sample in samples}) if split is None else [split])
    elsewhere = [sample.split for sample in samples if sample.id == id]
    near = get_close_matches(id, [sample.id for sample in searched], n=3, cutoff=0.5)
    known = (
        f"Nearest: {', '.join(near)}" if near else f"Ids are like {searched[0].id}" if searched else "It has no rows"
    )
    right = f"It is in split {elsewhere[0]}" if elsewhere else known
    raise UserError(f"no sample {id!r} among {len(searched):,} rows of {splits}", where="--sample", right=right)


@torch.inference_mode()
def explain_sample(
    run: Run, sample: Sample, *, batch_size: int = 64, progress: Callable[[int, int], None] | None = None
) -> SampleExplanation:
    """Attention and what hiding costs, for each input of the sample and each segment of its target.

    Without a target, that of the model's own (greedy) answer.
    """
    if not any(sample.has(m) for m in run.inputs):
        reads = ", ".join(run.inputs) or "no inputs"
        raise UserError(
            "the sample has no input that this model reads, so there is nothing to show",
            where=sample.where or sample.id,
            right=f"It reads {reads}",
        )
    answerer = RunAnswerer(run, run.config.generate.model_copy(update={"method": "greedy"}), cached=False)
    batch = answerer.batch(sample)
    answer = answerer.generate(batch)[0].segments
    from_answer = not sample.references
    if from_answer:
        batch = answerer.batch(replace(sample, references=(dict(answer),)))
    features = run.model.encode(batch.inputs, 1)
    asked = AskedSample(run, batch, features)
    shapes = views_of(run, batch)
    views = input_views(shapes)
    attended, word_bits = asked.attended()
    rows = [(m, window) for m, of in shapes.items() for window in windows(of)]
    rows += [(m, list(range(features[m].values.shape[1]))) for m in views]
    grown = asked.without(rows, batch_size, progress)
    told = [view for m, of in views.items() for view in told_views(asked, m, of, attended)]
    shown = list(with_needed(asked, told, grown))
    whole = grown[len(rows) - len(views) :]
    return SampleExplanation(
        sample.id,
        sample.split,
        tuple(m for m in views),
        dict(answer) if from_answer else dict(sample.references[0]),
        from_answer,
        dict(answer),
        asked.words,
        {s: tuple(word_bits[asked.at(s)].tolist()) for s in asked.words},
        {m: {s: float(whole[k, asked.number(s)]) for s in asked.words} for k, m in enumerate(views)},
        None if isinstance(attended, str) else "joint" if attended.joint else "each",
        attended if isinstance(attended, str) else None,
        elsewhere(asked, attended),
        tuple(shown),
        notes_of(run, sample, from_answer),
    )


@dataclass(frozen=True)
class AskedSample:
    """One sample with its target and its features."""

    run: Run
    batch: Batch
    features: Mapping[str, Features]

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The target's tokens by segment, the end included."""
        end, targets = self.run.tokenizer.end_id, self.batch.targets[0]
        found = {
            s: [word_of(self.run, i) if i != end else END for i in targets[self.at(s)].tolist()]
            for s in self.run.segments
        }
        return {segment: tuple(words) for segment, words in found.items() if words}

    def number(self, segment: str) -> int:
        """The number of a segment."""
        return self.run.segments.index(segment)

    def at(self, segment: str) -> Tensor:
        """The positions whose target is in the segment."""
        return (self.batch.segments[0] == self.number(segment)) & (self.batch.targets[0] != IGNORED)

    def attended(self) -> tuple[Attended | str, Float[Tensor, " T"]]:
        """Where each position of the target looked; and the bits of each target token with all inputs."""
        model, seen = self.run.model, dict[int, Tensor]()
        hidden = model.hidden(self.batch.tokens, model.condition(self.features), seen=seen)
        logits = model.lm.logits(hidden[0]).float().log_softmax(dim=-1)
        targets = self.batch.targets[0].clamp(min=0)
        bits = -logits.gather(1, targets[:, None])[:, 0].double() / np.log(2)
        assert model.fusion is not None
        return model.fusion.attended(self.features, seen), bits

    def without(
        self, rows: Sequence[Hidden], batch_size: int, progress: Callable[[int, int], None] | None
    ) -> Float[np.ndarray, "n G"]:
        """By how many bits each segment's loss grows when the tokens of a row are hidden."""
        base = self.bits([])
        found: list[np.ndarray] = []
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            found.append(self.bits(part) - base)
            if progress is not None:
                progress(start + len(part), len(rows))
        return np.concatenate(found)

    def bits(self, rows: Sequence[Hidden]) -> Float[np.ndarray, "n G"]:
        """The bits of each segment, one line per row of hidden tokens; of no rows, one line with nothing hidden."""
        num, model = max(1, len(rows)), self.run.model
        features = {}
        for modality, whole in self.features.items():
            mask = whole.mask.expand(num, -1).clone()
            for row, (hidden_modality, tokens) in enumerate(rows):
                if hidden_modality == modality:
                    mask[row, tokens] = False
            features[modality] = Features(whole.values.expand(num, -1, -1), mask)
        tokens, targets, segments = (
            t.expand(num, -1) for t in (self.batch.tokens, self.batch.targets, self.batch.segments)
        )
        hidden = model.hidden(tokens, model.condition(features))
        return segment_bits(model, hidden, targets, segments, ONE, len(self.run.segments))[:, 0].cpu().numpy()


def told_views(
    asked: AskedSample, modality: str, views: Sequence[InputView], attended: Attended | str
) -> Iterator[InputView]:
    """The views of a modality with their shares of attention, where the fusion tells them."""
    if isinstance(attended, str):
        yield from views
        return
    num_steps = asked.batch.tokens.shape[1]
    shares = attended.shares[modality][0].expand(num_steps, -1)
    start = 0
    for view in views:
        part = shares[:, start : start + len(view.labels)].double().cpu().numpy()
        yield attended_view(view, {s: part[asked.at(s).cpu().numpy()] for s in asked.words})
        start += len(view.labels)


def with_needed(asked: AskedSample, views: Sequence[InputView], grown: Float[np.ndarray, "n G"]) -> Iterator[InputView]:
    """The views with the bits that each token's hiding costs."""
    start = 0
    for view in views:
        part = grown[start : start + len(view.labels)]
        yield replace(view, needed={s: tuple(part[:, asked.number(s)].tolist()) for s in asked.words})
        start += len(view.labels)


def elsewhere(asked: AskedSample, attended: Attended | str) -> dict[str, float]:
    """The mean share of each segment that went to no input of the sample."""
    if isinstance(attended, str) or not attended.joint:
        return {}
    num_steps = asked.batch.tokens.shape[1]
    read = [shares for m, shares in attended.shares.items() if bool(asked.features[m].mask.any())]
    total = torch.stack([shares[0].sum(dim=-1).expand(num_steps) for shares in read]).sum(dim=0)
    return {s: float((1 - total[asked.at(s)]).mean()) for s in asked.words}


def notes_of(run: Run, sample: Sample, from_answer: bool) -> tuple[str, ...]:
    """What has to be known before the numbers are read."""
    notes = ["training never hides a single piece: a part of what hiding costs may be surprise"]
    if from_answer:
        notes.append("the sample has no target: all of this is about the model's own answer")
    elif len(sample.references) > 1:
        notes.append(f"the first of {len(sample.references)} references is the target")
    if len(run.segments) > 1:
        notes.append("each segment stands behind the true earlier ones, so what they say need not be read again")
    if run.model.fusion is not None and (strange := run.config.never_missing(sample.present)):
        notes.append(
            f"trained without dropout of {', '.join(strange)}: to hide one of them whole is strange to this model"
        )
    return tuple(notes)
