"""Equal terms: the inner width of every arm's fusion, solved so that all models are of one size.

In: the configuration, the arms' resolved configurations, the tokenizer; what is to be equal: parameters, or FLOPs of a sample.
Out: for each arm the override that brings it nearest, its size before and after, and in words what is left.
Invariant: only the fusion's own size changes, never the widths of features and states, and only in arms that differ from the
configuration in nothing but their fusion. Sizes are those of the models as they would be built, counted on no device.

The reference is the configuration itself and not the arms' median: so no arm's size depends on which others are compared, and one
more arm next week leaves all that was trained as it is. Any reference above the largest floor is within reach of nearly every
kind, because all grow without end and shrink to their alignment (demo: 16 of 16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from plait.build import around, build_model
from plait.choices import own_width
from plait.compare.result import Term
from plait.config import RunConfig
from plait.data.text import Tokenizer
from plait.embeddings import ScratchConfig, with_embedding
from plait.fusion import FusionOptions, build_fusion
from plait.fusion.cost import cost
from plait.layers import set_attention
from plait.model import Model
from plait.run import SavedVectors
from plait.types import Condition, Items

Target = Literal["parameters", "flops"]
TOLERANCE = 0.05
NARROW = 8
"""An inner width under so small a part of the states' is said: the arm may be another one at its own size."""
MAX_SIZE = 2**16
"""No inner width is looked for beyond it."""


class Lengths(NamedTuple):
    """The sample whose FLOPs are counted: text positions of the target, tokens of a text input, seconds of sound."""

    positions: int = 16
    words: int = 12
    seconds: float = 3.0


USUAL = Lengths()


@dataclass(frozen=True)
class Match:
    """What becomes of one arm. `overrides` are added to its own; sizes are None where it cannot be built, for the reason in `note`.

    `deviation`: its size afterwards against the reference's, 0.31 = 31 % more.
    """

    overrides: tuple[str, ...] = ()
    before: int | None = None
    after: int | None = None
    deviation: float | None = None
    note: str = ""

    narrowed: str = ""
    """How much smaller its fusion became, where that is much."""

    @property
    def left(self) -> str:
        """`+31 %: no inner width goes lower`, or nothing but the per cent."""
        if self.deviation is None:
            return self.note
        return f"{self.deviation:+.1%}".replace("%", " %").replace("-", "−") + (f": {self.note}" if self.note else "")


@dataclass(frozen=True)
class Matched:
    """All arms beside a reference of `size`."""

    target: Target
    size: int
    tolerance: float
    arms: Mapping[str, Match]

    def is_equal(self, name: str) -> bool:
        """Whether an arm is of the reference's size."""
        deviation = self.arms[name].deviation
        return deviation is not None and abs(deviation) <= self.tolerance

    def term(self) -> Term:
        """What was equal and what was not, for the report."""
        others = [f"{name} {self.arms[name].left}" for name in self.arms if not self.is_equal(name)]
        what = "parameters" if self.target == "parameters" else "FLOPs of a sample"
        detail = f"within {self.tolerance:.0%} of {short(self.size)} by the fusion's inner width".replace("%", " %")
        narrowed = [f"{name} {arm.narrowed}" for name, arm in self.arms.items() if arm.narrowed]
        return Term(what, not others, "; ".join([detail, *others, *narrowed]))


def match(
    reference: RunConfig,
    arms: Mapping[str, RunConfig],
    tokenizer: Tokenizer,
    *,
    target: Target = "parameters",
    tolerance: float = TOLERANCE,
    lengths: Lengths = USUAL,
) -> Matched:
    """The inner width of every arm; `data.inputs` and `data.segments` must be resolved.

    Arms that are within tolerance already stay as they are.
    """
    counter = Counter(tokenizer, target, lengths)
    goal = counter.whole(reference)
    return Matched(
        target,
        goal,
        tolerance,
        {name: matched(config, reference, counter, goal=goal, tolerance=tolerance) for name, config in arms.items()},
    )


def matched(config: RunConfig, reference: RunConfig, counter: Counter, *, goal: int, tolerance: float) -> Match:
    """One arm."""
    different = [key for key, value in made_of(config).items() if value != made_of(reference)[key]]
    if "data.tokenizer" in different:
        return Match(note="it has a tokenizer of its own, so it was not counted")
    try:
        before = counter.whole(config)
    except ValueError as error:  # a user's mistake, or a width that heads cannot share
        return Match(note=f"it cannot be built: {error}")
    kept = Match((), before, before, before / goal - 1)
    if different:
        return with_note(kept, f"it differs in {', '.join(different)} and keeps its own size")
    if not config.data.inputs or config.fusion == reference.fusion or abs(before / goal - 1) <= tolerance:
        return kept
    return solved(config, reference, counter, kept, goal=goal, tolerance=tolerance)


def solved(
    config: RunConfig, reference: RunConfig, counter: Counter, kept: Match, *, goal: int, tolerance: float
) -> Match:
    """An arm with the inner width that brings it nearest."""
    fusion = config.fusion
    sizes = fusion.size_steps(num_modalities=len(config.inputs)) if isinstance(fusion, FusionOptions) else None
    if sizes is None:
        return with_note(kept, "its fusion has no inner width")
    key = fusion.size_key
    if given(fusion, key) and given(reference.fusion, key) != given(fusion, key):
        return with_note(kept, f"fusion.{key} is given")
    smallest, step, largest = sizes

    def size_at(number: int) -> int:
        return counter.whole(with_size(config, smallest + number * step))

    last = ((largest or max(MAX_SIZE, smallest)) - smallest) // step
    number = nearest(size_at, goal, last)
    after = size_at(number)
    word = key.replace("_", " ")
    note = ""
    if abs(after / goal - 1) > tolerance:
        if after > goal and number == 0:
            note = f"no {word} goes lower"
        elif after < goal and number == last:
            note = f"no {word} goes higher"
        else:
            note = f"the {word} has no step between"
    size = smallest + number * step
    width = own_width(config.lm, config.width)
    narrowed = f"has an inner width of {size} beside states of {width}" if size * NARROW < width else ""
    if key != "inner_width":  # other sizes are small by nature
        narrowed = ""
    return Match((f"fusion.{key}={size}",), kept.before, after, after / goal - 1, note, narrowed)


def nearest(size_at: Callable[[int], int], goal: int, last: int) -> int:
    """The number in 0 … last whose size is nearest to the goal; sizes rise with the number."""
    low, high = 0, 1
    while high < last and size_at(high) <= goal:
        low, high = high, 2 * high
    high = min(high, last)
    while (
        high - low > 1
    ):  # the size at `low` is at most the goal, or low is 0; at `high` it is more, or high is the last
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) <= goal else (low, middle)
    return min((low, high), key=lambda number: abs(size_at(number) - goal))


def given(fusion: FusionOptions, key: str) -> object:
    """The value of a fusion's size where it is not the default."""
    field = type(fusion).model_fields.get(key)
    value = None if field is None else fusion.model_dump()[key]
    return None if field is None or value == field.default else value


def with_size(config: RunConfig, size: int) -> RunConfig:
    """The configuration with another size of its fusion."""
    fusion = config.fusion.model_copy(update={config.fusion.size_key: size})
    return config.model_copy(update={"fusion": fusion})


def with_note(match: Match, note: str) -> Match:
    """The same with a reason."""
    return replace(match, note=note)


def made_of(config: RunConfig) -> dict[str, Any]:
    """All that a model's size depends on beside its fusion, by the key of the configuration."""
    data = config.data
    return {
        "data.inputs": data.inputs,
        "data.tokenizer": data.tokenizer,
        **sizes_of(config),
        "width": config.width,
        "encoders": config.encoders.model_dump(exclude={"start_from", "freeze", "cache"}),
        "lm": config.lm.model_dump(),
        "train.ctc": config.train.ctc is None,
        "train.alignment": config.train.alignment is None,
    }


def sizes_of(config: RunConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """`data.MODALITY` → input → the shape of a usual item, as it is prepared."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, modality in config.inputs.items():
        with torch.device("meta"):
            found.setdefault(f"data.{modality}", {})[name] = tuple(blank_item(name, config, USUAL).values.shape)
    return found


class Counter:
    """Counts whole models; what all arms share is counted once."""

    def __init__(self, tokenizer: Tokenizer, target: Target, lengths: Lengths) -> None:
        self.tokenizer, self.target, self.lengths = tokenizer, target, lengths
        self.rests: dict[str, Rest] = {}
        self.sizes: dict[tuple[str, str], int] = {}

    def whole(self, config: RunConfig) -> int:
        """The model's parameters, or the FLOPs of its forward pass for one sample; refused (`UserError`) like the model itself."""
        key = (repr(made_of(config)), repr(config.fusion))
        if key not in self.sizes:
            self.sizes[key] = self.counted(config)
        return self.sizes[key]

    def counted(self, config: RunConfig) -> int:
        """The same, counted anew."""
        rest = self.rest(config)
        if not rest.num_tokens:
            return rest.parameters if self.target == "parameters" else rest.flops(1, self.lengths.positions)
        if self.target == "parameters":
            return rest.parameters + self.fusion_parameters(config, rest)
        found = cost(
            config.fusion,
            **rest.around._asdict(),
            num_tokens=rest.num_tokens,
            num_positions=self.lengths.positions,
        )
        return rest.flops(found.lm_rows, self.lengths.positions, found.lm_positions) + found.flops

    def fusion_parameters(self, config: RunConfig, rest: Rest) -> int:
        """The fusion's own."""
        with torch.device("meta"):
            fusion = build_fusion(config.fusion, rest.around)
        return sum(parameter.numel() for parameter in fusion.parameters())

    def rest(self, config: RunConfig) -> Rest:
        """All but the fusion."""
        key = repr(made_of(config))
        if key not in self.rests:
            self.rests[key] = Rest(blank_model(config, self.tokenizer), config, self.lengths)
        return self.rests[key]


class Rest:
    """A model without its fusion, on no device: its parameters, tokens and FLOPs."""

    def __init__(self, model: Model, config: RunConfig, lengths: Lengths) -> None:
        own = 0 if model.fusion is None else sum(p.numel() for p in model.fusion.parameters())
        self.parameters = model.num_parameters - own
        self.model, self.around = model, around(model.lm, {m: model.encoder(m) for m in model.inputs})
        model.fusion = None
        set_attention(model.requires_grad_(False).eval(), "math")
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            features = {m: model.encoder(m)(blank_item(m, config, lengths)) for m in model.inputs}
        self.encoder_flops = counter.get_total_flops()
        self.lm_flops: dict[tuple[int, int, int], int] = {}
        self.num_tokens = {m: f.values.shape[1] for m, f in features.items()}

    def flops(self, rows: int, positions: int, more: int = 0) -> int:
        """Encoders, and the language model run `rows` times over the text and `more` positions before it; the head once."""
        model, key = self.model, (rows, positions, more)
        if key not in self.lm_flops:
            with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
                states = model.hidden(torch.zeros(rows, positions + more, dtype=torch.long), Condition())
                model.lm.logits(states[:1, :positions])
            self.lm_flops[key] = counter.get_total_flops()
        return self.encoder_flops + self.lm_flops[key]


def blank_model(config: RunConfig, tokenizer: Tokenizer) -> Model:
    """The model of a configuration on no device: it has shapes and no values. Word vectors are not trained for it."""
    encoders = {
        name: blank_embedding(one, config, tokenizer)
        for name, one in [("text", config.encoders.text), *config.encoders.named.items()]
    }
    lm = blank_embedding(config.lm, config, tokenizer)
    config = config.model_copy(update={"lm": lm, "encoders": config.encoders.model_copy(update=encoders)})
    with torch.device("meta"):
        model = build_model(config, tokenizer, config.inputs, read_weights=False).model
    return model.to("meta")


def blank_embedding(part: Any, config: RunConfig, tokenizer: Tokenizer) -> Any:
    """A part of the model, with blank word vectors where it has some."""
    width = own_width(part, config.width)
    return with_embedding(part, lambda own: blank_vectors(own, config, tokenizer, width))


def blank_vectors(embedding: Any, config: RunConfig, tokenizer: Tokenizer, width: int) -> Any:
    """Word vectors of the right width: those trained on the corpus have the part's, those of a file their own."""
    if isinstance(embedding, ScratchConfig):
        return embedding
    if embedding.model_dump().get("path"):
        wanted = {form for token in tokenizer.vocabulary for form in (token, token.lower())}
        found = embedding.vectors(wanted, (), dimension=width, seed=config.seed)
        width = len(next(iter(found.values()))) if found else width
    return SavedVectors(frozen=embedding.frozen, width=width)


def blank_item(name: str, config: RunConfig, lengths: Lengths) -> Items:
    """One usual item of an input, without values, for the sizes of what follows."""
    options, modality = config.data.options_of(name), config.data.modality_of(name)
    preparer = modality.preparer(options, lambda _: (), 0)
    length = modality.typical(options, seconds=lengths.seconds, words=lengths.words)
    values = torch.zeros(1, *preparer.shape(length), dtype=preparer.dtype)
    return Items(values, torch.tensor([length]), torch.zeros(1, 1, dtype=torch.long))


def short(number: int) -> str:
    """`1.64 M`, `95.6 M`, `12 k`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"
