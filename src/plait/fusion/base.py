"""What every fusion has in common: where it acts, how it takes in features, and the absent token.

In: features of any subset of the modalities `(B, L, E_m)`, and states of the text so far `(B, T, D)`.
Out: a `Condition`, computed once per sample; states `(B, T, D)` that the language model's next block reads.
Invariant: a sample that lacks a modality has exactly one token of it, the learned absent token, in training and in use; so no
softmax and no product is ever empty, and nothing depends on values behind a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from plait.choices import Config
from plait.errors import UserError
from plait.layers import Linear
from plait.named import ByName
from plait.types import Condition, Features

Place = Annotated[int, Field(ge=0)] | Literal["last"]
"""After which block of the language model a fusion acts: 0 = at the embeddings, k = after k blocks, last = before the head."""


def resolve_place(place: Place, num_blocks: int) -> int:
    """The number of the place in a language model of `num_blocks` blocks."""
    if place == "last":
        return num_blocks
    if place > num_blocks:
        raise UserError(
            f"place {place} does not exist: the language model has {num_blocks} blocks",
            where="fusion.at",
            right=f"Take 0 (at the embeddings) to {num_blocks}, or last",
        )
    return place


class FusionOptions(Config):
    """The base of every fusion's configuration."""

    formula: ClassVar[str] = ""
    """What it does to the state h of a position, in one line."""
    advice: ClassVar[str] = ""
    """When to take it, in one line."""
    size_key: ClassVar[str] = "inner_width"
    """The option that makes it larger or smaller and leaves the widths of features and states as they are."""
    before_text: ClassVar[bool] = False
    """Whether all it gives stands before the text, among the word vectors, so that its `width` is theirs."""
    passes_words: ClassVar[bool] = False
    """Whether inputs that are word vectors of the language model's own go through as they are: `build` takes `as_words`."""
    adds_logits: ClassVar[bool] = False
    """Whether it has branches, whose logits are added; only a language model with a linear head can do that."""

    def size_steps(self, *, num_modalities: int) -> tuple[int, int, int | None] | None:
        """The sizes that `size_key` may take: the smallest, the distance of two, the largest (None = any); None: it has none."""
        return (1, 1, None) if self.size_key in type(self).model_fields else None

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Fusion:
        """The fusion for a language model of `num_blocks` blocks of `width`, and encoders of these widths."""
        raise NotImplementedError


class Around(NamedTuple):
    """What a fusion stands between: encoders of these widths, and a language model.

    `width`: of the language model's states; `embed_width`: of its word vectors; `as_words`: the inputs whose features are these.
    """

    width: int
    embed_width: int
    feature_widths: Mapping[str, int]
    num_blocks: int
    as_words: tuple[str, ...] = ()
    linear_head: bool = True


def passes_words(config: FusionOptions) -> bool:
    """Whether word vectors of the language model's own go through this fusion as they are."""
    return isinstance(config, FusionOptions) and config.passes_words


def build_fusion(config: FusionOptions, around: Around) -> Fusion:
    """The fusion of a configuration."""
    known = isinstance(config, FusionOptions)  # one of a user's own may be any configuration that builds a fusion
    if known and config.adds_logits:
        check_adds_up(around.linear_head)
    options: dict[str, Any] = {"as_words": around.as_words} if passes_words(config) and around.as_words else {}
    width = around.embed_width if known and config.before_text else around.width
    return config.build(width=width, feature_widths=around.feature_widths, num_blocks=around.num_blocks, **options)


def check_adds_up(linear_head: bool) -> None:
    """One message where the logits of branches cannot be added in the states."""
    if not linear_head:
        raise UserError(
            "late fusion adds logits, and this language model's output head is not linear",
            where="fusion.kind",
            right="Take a fusion without branches, such as concat",
        )


class OwnAlignmentOptions(FusionOptions):
    """A fusion that brings its own alignment refuses `align` with a reason."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_align(cls, data: Any) -> Any:
        if isinstance(data, dict) and "align" in data:
            kind = data.get("kind", cls.__name__)
            raise ValueError(f"{kind} brings its own alignment: leave `align` out (concat and product take it)")
        return data


class AttentionWidth(OwnAlignmentOptions):
    """The options of fusions that are made of attention."""

    num_heads: int = Field(default=4, ge=1, description="attention heads")
    inner_width: int | None = Field(
        default=None,
        ge=1,
        description="width inside its attention, feed-forward layers having four times as much; null = that of the states",
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> AttentionWidth:
        if self.inner_width is not None and self.inner_width % self.num_heads:
            below, above = (self.inner_width // self.num_heads + more for more in (0, 1))
            near = " or ".join(str(n * self.num_heads) for n in (below, above) if n)
            raise ValueError(f"inner_width {self.inner_width} is not a multiple of {self.num_heads} heads: take {near}")
        return self

    def size_steps(self, *, num_modalities: int) -> tuple[int, int, int | None]:
        """Every head has the same whole number of them."""
        return (self.num_heads, self.num_heads, None)


@dataclass(frozen=True)
class Attended:
    """Where the text positions looked: shares of attention, the mean over heads (and places, and layers).

    `shares`: modality → `(B, T, L)`, or `(B, 1, L)` where every position looks alike. `joint`: the tokens of all modalities
    compete, so that all shares of a position sum to one together with `elsewhere` `(B, T)`, what went to tokens of no input
    (shared ones, latents); otherwise each modality's sum to one. Of a modality that a sample lacks, the first token is the
    absent one.
    """

    shares: Mapping[str, Float[Tensor, "B T L"]]
    joint: bool
    elsewhere: Float[Tensor, "B T"] | None = None

    @classmethod
    def parted(cls, shares: Float[Tensor, "B T S"], tokens: Mapping[str, Features]) -> Attended:
        """Shares over the joined tokens of all modalities, and perhaps more behind them, told apart."""
        lengths = [part.values.shape[1] for part in tokens.values()]
        parts = shares.split([*lengths, shares.shape[-1] - sum(lengths)], dim=-1)
        return cls(dict(zip(tokens, parts, strict=False)), True, parts[-1].sum(dim=-1))


class Fusion(nn.Module):
    """The base of every fusion: it owns all its parameters and knows no language model.

    `at` holds the places in rising order; `condition` is called once per sample, `fuse` at every place, for any number of
    text positions, one step included.
    """

    at: tuple[int, ...]

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """What is computed once per sample."""
        raise NotImplementedError

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where the text positions looked, given the states at each place; or in words why this fusion cannot tell."""
        return "it does not tell where it looks"

    def auxiliary(self) -> Tensor | None:
        """What training adds to the mean loss of a token, of the last call; None for most kinds."""
        return None

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """The states that the block after `place` reads. Position t is changed by what it alone and the condition say."""
        raise NotImplementedError


class ModalityTokens(nn.Module):
    """Features of every modality → tokens of the language model's width, with an absent token where a sample has none.

    `learn_absent=False`: where nobody reads it (`late`) it is zero and no parameter.
    """

    def __init__(self, feature_widths: Mapping[str, int], width: int, *, learn_absent: bool = True) -> None:
        super().__init__()
        self.modalities = tuple(feature_widths)
        self.norms = ByName({m: nn.LayerNorm(feature_widths[m]) for m in self.modalities})
        self.projections = ByName({m: Linear(feature_widths[m], width) for m in self.modalities})
        learnt = self.modalities if learn_absent else ()
        absent = {m: nn.Parameter(torch.randn(width)) for m in learnt}
        self.absent = ByName(dict(sorted(absent.items())))  # in the order that optimisers of older runs know
        self.width = width

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Tokens `(B, L, D)` of every modality that the fusion knows; L ≥ 1 and every sample has at least one."""
        return {m: self.tokens_of(m, features[m]) for m in self.modalities}

    def tokens_of(self, modality: str, features: Features) -> Features:
        """The tokens of one modality."""
        learnt = modality in self.absent
        absent = self.absent[modality] if learnt else features.values.new_zeros(self.width)
        if features.values.shape[1]:
            values = self.projections[modality](self.norms[modality](features.values))
            features = Features(values, features.mask)
        return with_absent(features, absent)


def with_absent(features: Features, absent: Float[Tensor, " D"]) -> Features:
    """The tokens `(B, L, D)`, L ≥ 1, of which a sample without any has one: `absent`."""
    batch_size, num_tokens, _ = features.values.shape
    if num_tokens == 0:
        mask = torch.ones(batch_size, 1, dtype=torch.bool, device=absent.device)
        return Features(absent.expand(batch_size, 1, -1), mask)
    first = torch.arange(num_tokens, device=absent.device) == 0
    lacking = ~features.mask.any(dim=1, keepdim=True) & first
    values = torch.where(lacking[..., None], absent.to(features.values.dtype), features.values)
    return Features(values, features.mask | lacking)
