"""Damage to series: noise, channels that are lost, a gap in time.

In: `(N, C)` as it was decoded: at the rate of the model, normalised, NaN for what is missing.
Out: the same, damaged; of the same shape and type.
Invariant: what is random about a sample's damage is the same at every level: a channel or a step that is gone at one level is gone
at every harsher one, and the noise only grows.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from plait.modalities.damage import Damage, Kind
from plait.modalities.series.prepare import noisy
from plait.types import Sample

NEVER_CHANGES = "never changes, so no signal-to-noise ratio can be set: left as it is"
ONE_CHANNEL = "has one channel, which cannot be lost: left as it is"


class Noise(Damage):
    """As if the sensors were worse."""

    kind: ClassVar[Kind] = Kind(
        "noise",
        "series",
        "SNR in dB",
        (20.0, 15.0, 10.0, 5.0, 0.0, -5.0),
        None,
        "white Gaussian noise in every channel; SNR = 10 log10(variance of the channel / power of the noise), over the whole "
        "series at the rate that the model sees, missing values left out",
    )

    def damaged(self, decoded: Float[Tensor, "N C"], sample: Sample, place: int) -> Float[Tensor, "N C"]:
        noise = torch.randn(decoded.shape, generator=self.source.generator(self.kind, sample, place))
        found = noisy(decoded, self.level, noise)
        if torch.equal(found.nan_to_num(), decoded.nan_to_num()):
            self.source.note(self.kind, NEVER_CHANGES, sample)
        return found


class LostChannels(Damage):
    """As if sensors had failed."""

    kind: ClassVar[Kind] = Kind(
        "lost channels",
        "series",
        "% of the channels",
        (12.5, 25.0, 50.0, 75.0, 90.0),
        0.0,
        "this share of the channels, in a drawn order, is missing over the whole series; at least one, and never all",
    )

    def damaged(self, decoded: Float[Tensor, "N C"], sample: Sample, place: int) -> Float[Tensor, "N C"]:
        channels = decoded.shape[1]
        if channels == 1:
            self.source.note(self.kind, ONE_CHANNEL, sample)
            return decoded
        order = torch.randperm(channels, generator=self.source.generator(self.kind, sample, place))
        return without(decoded, order, self.level / 100)


class Gap(Damage):
    """As if the recording had been interrupted."""

    kind: ClassVar[Kind] = Kind(
        "gap",
        "series",
        "% of the steps",
        (10.0, 25.0, 50.0, 75.0, 90.0),
        0.0,
        "one stretch of this share of the steps, at a random place, is missing in all channels; it grows with the level and keeps "
        "what it took; never the whole series",
    )

    def damaged(self, decoded: Float[Tensor, "N C"], sample: Sample, place: int) -> Float[Tensor, "N C"]:
        at = float(torch.rand((), generator=self.source.generator(self.kind, sample, place)))
        return with_gap(decoded, self.level / 100, at)


KINDS: tuple[type[Damage], ...] = (Noise, LostChannels, Gap)


def without(values: Float[Tensor, "N C"], order: Tensor, share: float) -> Float[Tensor, "N C"]:
    """The first channels in this order are missing: round(share × C), at least 1 where the share is above 0, and never all."""
    channels = values.shape[1]
    number = min(channels - 1, max(1, int(share * channels + 0.5))) if share else 0
    found = values.clone()
    found[:, order[:number]] = torch.nan
    return found


def with_gap(values: Float[Tensor, "N C"], share: float, at: float) -> Float[Tensor, "N C"]:
    """round(share × N) steps are missing, at most N − 1: a stretch that divides what is left as `at` in [0, 1) says."""
    steps = len(values)
    number = min(steps - 1, int(share * steps + 0.5))
    start = int(at * (steps - number + 1))
    found = values.clone()
    found[start : start + number] = torch.nan
    return found
