"""ResNet (He et al. 2015): a small one for small pictures, and torchvision's 18, 34 and 50.

In: pixels `(R, C, Y, X)`.
Out: `Features` `(R, L, E)`: the grid of the last stage (depth 9: 16 tokens at 64 px; 18, 34, 50: 49 at 224 px).
Invariant: with `weights` it is torchvision's network to the letter (in depth 50 the 3 × 3 convolution carries the stride), batch
norm with its published statistics; from scratch every norm is a group norm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import UserError
from plait.modalities.encoder import EncoderOptions
from plait.modalities.image.grid import GridEncoder, Trunk
from plait.modalities.image.weights import (
    FrozenBatchNorm,
    check_published,
    group_norm,
    init_convolutions,
    load_published,
)

Depth = Literal[9, 18, 34, 50]
Norm = Callable[[int], nn.Module]


class Plan(NamedTuple):
    """What makes one depth: blocks, channels and stride of each stage, and how it begins."""

    blocks: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    bottleneck: bool = False
    small: bool = False
    """A stem of two 3 × 3 convolutions and GELUs, where torchvision has one of 7 × 7, a pooling and ReLUs."""


PLANS: dict[int, Plan] = {
    9: Plan((1, 1, 1), (24, 48, 96), (1, 2, 2), small=True),
    18: Plan((2, 2, 2, 2), (64, 128, 256, 512), (1, 2, 2, 2)),
    34: Plan((3, 4, 6, 3), (64, 128, 256, 512), (1, 2, 2, 2)),
    50: Plan((3, 4, 6, 3), (64, 128, 256, 512), (1, 2, 2, 2), bottleneck=True),
}
SMALL_GROUP = 4
"""Channels of a norm's group in depth 9: learns shapes in fewer steps than groups of 8, or one group of all."""

EXPANSION = 4
"""A bottleneck's output has this many times the channels of its 3 × 3 convolution."""


class Block(nn.Module):
    """Two 3 × 3 convolutions (or 1 × 1, 3 × 3, 1 × 1 in a bottleneck) beside a shortcut."""

    def __init__(self, num_in: int, channels: int, *, stride: int, norm: Norm, plan: Plan) -> None:
        super().__init__()
        self.bottleneck = bottleneck = plan.bottleneck
        self.num_out = channels * EXPANSION if bottleneck else channels
        first, last = (1, 1) if bottleneck else (3, 3)
        self.conv1 = _convolution(num_in, channels, first, 1 if bottleneck else stride)
        self.bn1 = norm(channels)
        self.conv2 = _convolution(channels, channels, 3, stride if bottleneck else 1)
        self.bn2 = norm(channels)
        if bottleneck:
            self.conv3 = _convolution(channels, self.num_out, last, 1)
            self.bn3 = norm(self.num_out)
        self.relu = nn.GELU() if plan.small else nn.ReLU()
        self.downsample = None
        if stride != 1 or num_in != self.num_out:
            self.downsample = nn.Sequential(_convolution(num_in, self.num_out, 1, stride), norm(self.num_out))

    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R E rows columns"]:
        """The sum of both ways, rectified."""
        shortcut = self.downsample(pixels) if self.downsample else pixels
        values = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(pixels)))))
        if self.bottleneck:
            values = self.bn3(self.conv3(self.relu(values)))
        return self.relu(values + shortcut)


class ResNetTrunk(Trunk):
    """The convolutions of a ResNet under torchvision's names."""

    def __init__(self, depth: int, *, channels: int, norm: Norm) -> None:
        super().__init__()
        plan = PLANS[depth]
        self.plan = plan
        width = plan.channels[0]
        if plan.small:
            half = width // 2
            self.conv1 = nn.Sequential(
                _convolution(channels, half, 3, 2), norm(half), nn.GELU(), _convolution(half, width, 3, 2)
            )
        else:
            self.conv1 = _convolution(channels, width, 7, 2)
        self.bn1 = norm(width)
        self.relu = nn.GELU() if plan.small else nn.ReLU()
        self.maxpool = nn.Identity() if plan.small else nn.MaxPool2d(3, stride=2, padding=1)
        for number, (repeats, num_out, stride) in enumerate(
            zip(plan.blocks, plan.channels, plan.strides, strict=True), start=1
        ):
            blocks: list[Block] = []
            for index in range(repeats):
                block = Block(width, num_out, stride=1 if index else stride, norm=norm, plan=plan)
                blocks.append(block)
                width = block.num_out
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.num_channels = width
        init_convolutions(self)
        self._quieten_residuals()

    def _quieten_residuals(self) -> None:
        """Residual ways begin at half strength: the sum over the blocks grows less, and every way gets a gradient."""
        for part in self.modules():
            if isinstance(part, Block):
                last = part.bn3 if part.bottleneck else part.bn2
                nn.init.constant_(last.get_parameter("weight"), 0.5)

    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R E rows columns"]:
        """The grid of the last stage."""
        values = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        for number in range(1, len(self.plan.blocks) + 1):
            values = self.get_submodule(f"layer{number}")(values)
        return values

    def grid_side(self, side: int) -> int:
        """The stem halves twice, then come the stages' strides; each rounds up."""
        for stride in (2, 2, *self.plan.strides):
            side = -(-side // stride)
        return side


class ResNetConfig(EncoderOptions):
    """ResNet: depth 9 from scratch for pictures of 28 to 64 px; 18, 34 and 50 from scratch or with torchvision's weights."""

    kind: Literal["resnet"] = "resnet"
    depth: Depth = 9
    weights: str | None = None
    """A local file: torchvision's `resnet{depth}-*.pth`, or the same as .safetensors. None = from scratch."""
    freeze: bool = False
    """Keep the convolutions as they are; only the projection trains."""

    def build(self, width: int, *, channels: int = 3, read_weights: bool = True) -> GridEncoder:
        """The encoder; `read_weights=False` where a run's own numbers follow."""
        check_published(self.weights, channels)
        if self.weights and self.depth not in PUBLISHED:
            right = f"depth: {', '.join(map(str, PUBLISHED))} have; leave `weights` out to train depth {self.depth}."
            raise UserError(f"ResNet of depth {self.depth} has no published weights", where=self.weights, right=right)
        norm = FrozenBatchNorm if self.weights else small_group_norm if PLANS[self.depth].small else group_norm
        trunk = ResNetTrunk(self.depth, channels=channels, norm=norm)
        if self.weights and read_weights:
            load_published(trunk, self.weights, family=published_family())
        return GridEncoder(trunk, width, freeze=self.freeze)


PUBLISHED = (18, 34, 50)


def published_family() -> dict[str, Callable[[], Trunk]]:
    """The published networks by the words that configure them."""
    return {
        f"kind: resnet, depth: {depth}": partial(ResNetTrunk, depth, channels=3, norm=FrozenBatchNorm)
        for depth in PUBLISHED
    }


def small_group_norm(num_channels: int) -> nn.GroupNorm:
    """The norm of depth 9."""
    return nn.GroupNorm(num_channels // SMALL_GROUP, num_channels)


def _convolution(num_in: int, num_out: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(num_in, num_out, size, stride=stride, padding=size // 2, bias=False)
