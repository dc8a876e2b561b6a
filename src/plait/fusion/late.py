"""Late fusion: one branch of the language model for each modality that a sample has and one without input; their logits are added.

In branch m the text state attends to modality m alone, `h_t + W_m Attn_m(q = norm_m(h_t), kv = Z_m)`; all branches share the
language model. The logits are `Σ_b logits_b` over the branches that the sample has, a product of experts (Hinton 2002). Nothing
that needs two modalities at once can be said before the sum. Parameters: 4 D I + 2 D for each modality, I the inner width. The
language model costs M + 1 times as much; more than `MAX_BRANCHES` are refused with the count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError
from plait.fusion.base import Attended, AttentionWidth, Fusion, ModalityTokens, Place, resolve_place
from plait.layers import Attention, attention_bias
from plait.named import ByName
from plait.types import Condition, Features

MAX_BRANCHES = 9
"""Runs of the language model for every sample: one without input and one for each of up to eight inputs."""


class LateConfig(AttentionWidth):
    """One branch of the language model for each modality and one without input; their logits are added."""

    kind: Literal["late"] = "late"
    formula: ClassVar[str] = "logits = Σ_b logits_b, branch m: h + W_m Attn_m(h, Z_m)"
    advice: ClassVar[str] = "modalities that each know the answer; robust where one is missing"
    adds_logits: ClassVar[bool] = True

    at: Place = Field(
        default=1, description="after which block: 0 = at the embeddings, k = after k blocks, last = before the head"
    )
    plain: bool = Field(default=False, description="without the residual of the text state")

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Late:
        """The fusion; refused where the language model would run too often."""
        branches = len(feature_widths) + 1
        if branches > MAX_BRANCHES:
            raise UserError(
                f"late: {len(feature_widths)} inputs make {branches} branches, so the language model runs {branches} times for "
                "every sample",
                where="fusion.kind",
                right=f"At most {MAX_BRANCHES}: take fusion.kind=concat with fusion.at=last, which runs it once",
            )
        return Late(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Late(Fusion):
    """See the module. Branch 0 has no input; a sample that lacks a modality lacks its branch, so no absent token is learnt."""

    def __init__(self, config: LateConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__()
        self.at = (resolve_place(config.at, num_blocks),)
        self.plain = config.plain
        self.tokens = ModalityTokens(feature_widths, width, learn_absent=False)
        self.norms = ByName({m: nn.LayerNorm(width) for m in self.tokens.modalities})
        self.attentions = ByName(
            {
                m: Attention(width, width, config.num_heads, inner_width=config.inner_width)
                for m in self.tokens.modalities
            }
        )

    def attention(self, modality: str) -> Attention:
        """The attention of one branch."""
        return self.attentions[modality]

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values of every branch, and which branches a sample has."""
        values: dict[str, Tensor] = {}
        some = next(iter(features.values())).mask
        has = [some.new_ones(len(some))]
        for modality, tokens in self.tokens(features).items():
            keys = self.attention(modality).keys(tokens.values)
            values[f"keys.{modality}"], values[f"values.{modality}"] = keys
            values[f"bias.{modality}"] = attention_bias(tokens.mask[:, None, None, :])
            has.append(features[modality].mask.any(dim=1))
        return Condition(values, branches=torch.stack(has, dim=1).float())

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where each position of each branch looked within its modality."""
        had = self.condition(features).values
        by_branch = states[self.at[0]].unflatten(0, (-1, len(self.tokens.modalities) + 1))
        shares = {
            m: self.attention(m).shares(self.norms[m](by_branch[:, number]), had[f"keys.{m}"], bias=had[f"bias.{m}"])
            for number, m in enumerate(self.tokens.modalities, 1)
        }
        return Attended(shares, False)

    def fuse(self, states: Float[Tensor, "Bn T D"], condition: Condition, place: int) -> Float[Tensor, "Bn T D"]:
        """Every branch reads its own modality."""
        had = condition.values
        by_branch = states.unflatten(0, (-1, condition.num_branches))
        read = [by_branch[:, 0]]
        for number, modality in enumerate(self.tokens.modalities, 1):
            own = by_branch[:, number]
            found = self.attention(modality)(
                self.norms[modality](own),
                had[f"keys.{modality}"],
                had[f"values.{modality}"],
                bias=had[f"bias.{modality}"],
            )
            read.append(found if self.plain else own + found)
        return torch.stack(read, dim=1).flatten(0, 1)
