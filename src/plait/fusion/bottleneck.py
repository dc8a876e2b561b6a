"""Attention bottlenecks (MBT, Nagrani et al. 2021, arXiv 2107.00135): modalities meet in a few shared tokens only.

In each layer every modality's tokens and the B shared tokens attend to each other, each modality by itself, and the shared
tokens become the mean of what they were told by each: `[Z_m; S_m] = block_m([Z_m; S])`, `S = mean_m S_m`. Then the text state
attends to all tokens. Cost Σ (L_m + B)², not (Σ L_m)². Parameters: 12 D I for each layer and modality, 4 D I for the reading,
B D; I the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.attention import AttentionConfig, AttentionFusion, join
from plait.layers import SelfAttentionBlock
from plait.named import ByName
from plait.types import Condition, Features


class BottleneckConfig(AttentionConfig):
    """Each modality talks to a few shared tokens, which carry what it says to the others; then `attention`."""

    kind: Literal["bottleneck"] = "bottleneck"  # pyright: ignore[reportIncompatibleVariableOverride]
    layers: int = Field(default=1, ge=1, le=24, description="layers of self-attention")
    num_shared: int = Field(default=4, ge=1, le=256, description="shared tokens")
    formula: ClassVar[str] = "[Z_m; S_m] = block_m([Z_m; S]), S = mean_m S_m; then h + Attn(h, [Z_1; …; Z_M; S])"
    advice: ClassVar[str] = "long inputs in several modalities: cost Σ (L_m + B)², not (Σ L_m)²"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Bottleneck:
        """The fusion."""
        return Bottleneck(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Bottleneck(AttentionFusion):
    """See the module."""

    def __init__(
        self, config: BottleneckConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        self.shared = nn.Parameter(torch.randn(config.num_shared, width))
        self.layers = nn.ModuleList(
            ByName(
                {
                    m: SelfAttentionBlock(width, config.num_heads, inner_width=config.inner_width)
                    for m in self.tokens.modalities
                }
            )
            for _ in range(config.layers)
        )

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values of all tokens after they have met."""
        tokens = self.tokens(features)
        shared = self.shared.expand(len(next(iter(tokens.values())).values), -1, -1)
        for layer in self.layers:
            assert isinstance(layer, ByName)
            told: list[Float[Tensor, "B S D"]] = []
            for modality, part in tokens.items():
                met = self.meet(layer[modality], part, shared)
                tokens[modality] = Features(met[:, : part.values.shape[1]], part.mask)
                told.append(met[:, part.values.shape[1] :])
            shared = torch.stack(told).mean(dim=0)
        every = join(tokens)
        mask = torch.cat([every.mask, every.mask.new_ones(shared.shape[:2])], dim=1)
        return self.keys_of(Features(torch.cat([every.values, shared], dim=1), mask))

    def meet(self, block: nn.Module, tokens: Features, shared: Float[Tensor, "B S D"]) -> Float[Tensor, "B LS D"]:
        """One modality's tokens and the shared ones after a layer."""
        mask = torch.cat([tokens.mask, tokens.mask.new_ones(shared.shape[:2])], dim=1)
        return block(torch.cat([tokens.values, shared], dim=1), mask)
