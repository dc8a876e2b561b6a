"""AlexNet (Krizhevsky 2014, "One weird trick"): five convolutions, as torchvision publishes them.

In: pixels `(R, 3, Y, X)`.
Out: `Features` `(R, L, E)`: the grid of the fifth convolution, before the last pooling (169 tokens at 224 px; 64 px
are enlarged to 79 and give 16).
Invariant: with `weights` it is torchvision's network to the letter; from scratch every convolution has a group norm behind it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from plait.modalities.encoder import EncoderOptions
from plait.modalities.image.grid import GridEncoder, Trunk
from plait.modalities.image.weights import check_published, group_norm, init_convolutions, load_published


class AlexNetTrunk(Trunk):
    """The convolutions of AlexNet; the numbers in `features` are torchvision's places."""

    num_channels = 256

    def __init__(self, *, channels: int, norm: bool) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()

        def convolution(index: int, convolution: nn.Conv2d) -> None:
            parts[str(index)] = convolution
            if norm:
                parts[f"norm{index}"] = group_norm(convolution.out_channels)
            parts[str(index + 1)] = nn.ReLU()

        convolution(0, nn.Conv2d(channels, 64, 11, stride=4, padding=2))
        parts["2"] = nn.MaxPool2d(3, stride=2)
        convolution(3, nn.Conv2d(64, 192, 5, padding=2))
        parts["5"] = nn.MaxPool2d(3, stride=2)
        convolution(6, nn.Conv2d(192, 384, 3, padding=1))
        convolution(8, nn.Conv2d(384, 256, 3, padding=1))
        convolution(10, nn.Conv2d(256, 256, 3, padding=1))
        self.features = nn.Sequential(parts)
        init_convolutions(self)

    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R E rows columns"]:
        """The grid of the fifth convolution."""
        return self.features(pixels)

    def grid_side(self, side: int) -> int:
        """A convolution of 11 with stride 4, then twice a pooling of 3 with stride 2."""
        side = (side + 4 - 11) // 4 + 1
        for _ in range(2):
            side = (side - 3) // 2 + 1
        return side


class AlexNetConfig(EncoderOptions):
    """AlexNet, from scratch (group norm) or with torchvision's published weights."""

    kind: Literal["alexnet"] = "alexnet"
    weights: str | None = None
    """A local file: torchvision's `alexnet-owt-*.pth`, or the same as .safetensors. None = from scratch."""
    freeze: bool = False
    """Keep the convolutions as they are; only the projection trains."""

    def build(self, width: int, *, channels: int = 3, read_weights: bool = True) -> GridEncoder:
        """The encoder; `read_weights=False` where a run's own numbers follow."""
        check_published(self.weights, channels)
        trunk = AlexNetTrunk(channels=channels, norm=self.weights is None)
        if self.weights and read_weights:
            family = {"kind: alexnet": lambda: AlexNetTrunk(channels=3, norm=False)}
            load_published(trunk, self.weights, family=family)
        return GridEncoder(trunk, width, freeze=self.freeze)
