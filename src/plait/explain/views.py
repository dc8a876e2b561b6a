"""Tokens of an encoder → what they are in the input: cells of a picture, moments of a sound, words of a text.

In: a batch of one sample, and the run that reads it.
Out: an `InputView` for each item, and the windows of tokens that are hidden together.
Invariant: the views of an input, in order, have as many tokens as its features, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plait.explain.sample_result import InputView
from plait.modalities.view import Seen, View
from plait.run import Run
from plait.types import Batch


def views_of(run: Run, batch: Batch) -> dict[str, list[View]]:
    """The items of the batch's only sample, by input; inputs that it lacks are left out."""
    assert len(batch) == 1
    found: dict[str, list[View]] = {}
    for name in run.inputs:
        items, modality = batch.inputs[name], run.config.data.modality_of(name)
        seen = Seen(run.model.encoder(name), run.config.data.options_of(name), lambda id: word_of(run, id))
        for item in (int(item) for item in items.index[0] if item >= 0):
            value, length = items.values[item], int(items.lengths[item])
            whole = value if items.values.dim() == 4 else value[:length]
            found.setdefault(name, []).append(modality.view(whole, seen))
    return found


def told(name: str, number: int, view: View) -> InputView:
    """A view as the explanation keeps it."""
    return InputView(name, number, view.grid, view.labels, view.seconds, view.hidden, drawn=view.drawn, raw=view.raw)


def windows(views: Sequence[View]) -> Iterator[list[int]]:
    """For each token of an input the tokens that are hidden with it, itself included."""
    start = 0
    for view in views:
        yield from ([start + k for k in near] for near in view.near)
        start += len(view.labels)


def input_views(views: Mapping[str, Sequence[View]]) -> dict[str, list[InputView]]:
    """All views as the explanation keeps them."""
    return {name: [told(name, k, view) for k, view in enumerate(of)] for name, of in views.items()}


def word_of(run: Run, id: int) -> str:
    """One token as a person reads it."""
    return run.tokenizer.decode([id]).strip() or run.tokenizer.token(id)
