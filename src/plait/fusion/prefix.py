"""Prefix: the projected tokens of all modalities stand before the text (LLaVA, arXiv 2304.08485).

`prefix = W_2 gelu(W_1 Z_m)` in the order of the modalities. Parameters: Σ E_m I + I D, I the inner width. The usual choice when
the language model trains with it; it makes every sequence longer by Σ L_m positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from plait.fusion.attention import join
from plait.fusion.base import Attended, Fusion, ModalityTokens, OwnAlignmentOptions
from plait.layers import Linear
from plait.types import Condition, Features


class BeforeText(OwnAlignmentOptions):
    """A fusion that stands before the text and has no other place."""

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

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Prefix:
        """The fusion."""
        return Prefix(width=width, feature_widths=feature_widths, inner_width=self.inner_width)


class Prefix(Fusion):
    """See the module. `at` is empty: everything happens in the condition."""

    at = ()

    def __init__(self, *, width: int, feature_widths: Mapping[str, int], inner_width: int | None = None) -> None:
        super().__init__()
        self.tokens = ModalityTokens(feature_widths, inner_width or width)
        self.project = Linear(inner_width or width, width)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """The prefix and its mask."""
        tokens = join(self.tokens(features))
        return Condition(prefix=Features(self.project(F.gelu(tokens.values)), tokens.mask))

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """A prefix has no attention of its own."""
        return "a prefix has no attention of its own: the language model reads it like words"

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """Never called: there is no place."""
        raise AssertionError("a prefix has no place")
