"""Prefix: the projected tokens of all modalities stand before the text (LLaVA, arXiv 2304.08485).

`prefix = W_2 gelu(W_1 Z_m)` in the order of the modalities. Parameters: Σ E_m I + I D, I the inner width. The usual choice when
the language model trains with it; it makes every sequence longer by Σ L_m positions.

An input whose features are the language model's own word vectors (`encoders.text: {kind: words}`) is not projected: it stands
before the text as a prompt does, and only its absent token is learnt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from plait.fusion.attention import join
from plait.fusion.base import Attended, Fusion, ModalityTokens, OwnAlignmentOptions, with_absent
from plait.layers import Linear
from plait.named import ByName
from plait.types import Condition, Features


class BeforeText(OwnAlignmentOptions):
    """A fusion that stands before the text and has no other place."""

    before_text: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_at(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("at", 0) != 0:
            kind = data.get("kind", "prefix")
            raise ValueError(f"{kind} stands before the text, at the embeddings: leave `at` out (attention takes it)")
        return {key: value for key, value in data.items() if key != "at"} if isinstance(data, dict) else data


class PrefixConfig(BeforeText):
    """Projected tokens stand before the text; the language model reads them like words."""

    kind: Literal["prefix"] = "prefix"
    inner_width: int | None = Field(
        default=None, ge=1, description="width between its two matrices; null = that of the states"
    )
    formula: ClassVar[str] = "[W_2 gelu(W_1 Z); words]"
    advice: ClassVar[str] = "the language model trains too, and inputs are short"
    passes_words: ClassVar[bool] = True

    def build(
        self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int, as_words: Collection[str] = ()
    ) -> Prefix:
        """The fusion; `as_words` are not projected."""
        return Prefix(width=width, feature_widths=feature_widths, inner_width=self.inner_width, as_words=as_words)


class Prefix(Fusion):
    """See the module. `at` is empty: everything happens in the condition."""

    at = ()

    def __init__(
        self,
        *,
        width: int,
        feature_widths: Mapping[str, int],
        inner_width: int | None = None,
        as_words: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.modalities = tuple(feature_widths)
        projected = {m: size for m, size in feature_widths.items() if m not in as_words}
        self.tokens = ModalityTokens(projected, inner_width or width)
        self.project = Linear(inner_width or width, width) if projected else nn.Identity()
        self.absent_words = ByName({m: nn.Parameter(torch.randn(width)) for m in feature_widths if m in as_words})

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """The prefix and its mask."""
        parts: dict[str, Features] = {m: with_absent(features[m], absent) for m, absent in self.absent_words.items()}
        tokens = self.tokens(features)
        if tokens:
            joined = join(tokens)
            values = self.project(F.gelu(joined.values))
            lengths = [part.values.shape[1] for part in tokens.values()]
            if not parts:
                return Condition(prefix=Features(values, joined.mask))
            of_inputs = zip(tokens, values.split(lengths, dim=1), joined.mask.split(lengths, dim=1), strict=True)
            parts |= {m: Features(part, mask) for m, part, mask in of_inputs}
        return Condition(prefix=join({m: parts[m] for m in self.modalities}))

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """A prefix has no attention of its own."""
        return "a prefix has no attention of its own: the language model reads it like words"

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """Never called: there is no place."""
        raise AssertionError("a prefix has no place")
