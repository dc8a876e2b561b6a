"""Noise in recordings, at a stated signal-to-noise ratio.

In: a wave `(samples,)` at 16 kHz, before the log-mel; for babble the other rows' recordings.
Out: the wave plus noise, nothing clipped.
Invariant: SNR = 10 log10(Σ wave² / Σ noise²) over the whole clip, and what is measured afterwards is what was asked for; a silent
clip has no SNR: it stays as it is and is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from plait.errors import UserError
from plait.modalities.audio.prepare import mixed
from plait.modalities.damage import Damage, Kind
from plait.types import Sample

SNR_DB = (20.0, 15.0, 10.0, 5.0, 0.0, -5.0)
VOICES = 4
"""Recordings that are heard at once in babble."""

SILENT = "is silent, so no signal-to-noise ratio can be set: left as it is"


class WhiteNoise(Damage):
    """Gaussian noise, independent from sample to sample, so of equal power at every frequency."""

    kind: ClassVar[Kind] = Kind(
        "white noise",
        "audio",
        "SNR in dB",
        SNR_DB,
        None,
        "white Gaussian noise; SNR = 10 log10(power of the clip / power of the noise), over the whole clip at 16 kHz",
    )

    def damaged(self, decoded: Float[Tensor, " samples"], sample: Sample, place: int) -> Float[Tensor, " samples"]:
        generator = self.source.generator(self.kind, sample, place)
        if not power(decoded):
            self.source.note(self.kind, SILENT, sample)
            return decoded
        return mixed(decoded, torch.randn(decoded.shape, generator=generator), self.level)


class Babble(Damage):
    """Other voices of the split talking at once."""

    kind: ClassVar[Kind] = Kind(
        "babble",
        "audio",
        "SNR in dB",
        SNR_DB,
        None,
        f"{VOICES} recordings of other rows of the split, none that shares a group with the sample, each from a random start, "
        "repeated to the clip's length, of equal power; SNR as for white noise",
    )

    def damaged(self, decoded: Float[Tensor, " samples"], sample: Sample, place: int) -> Float[Tensor, " samples"]:
        if not power(decoded):
            self.source.note(self.kind, SILENT, sample)
            return decoded
        parts = self.parts(sample, place, len(decoded))
        if len(parts) < VOICES:
            left = f"found {len(parts)} recordings of other groups for its babble, not {VOICES}"
            self.source.note(self.kind, left if parts else f"{left}: left as it is", sample)
        if not parts:
            return decoded
        noise = torch.stack(parts).sum(dim=0)
        # voices can cancel each other out in a clip of one sample
        return mixed(decoded, noise if power(noise) else parts[0], self.level)

    def parts(self, sample: Sample, place: int, length: int) -> list[Float[Tensor, " length"]]:
        """The voices, each of power 1; a recording that cannot be read, or is silent where it was cut, is passed over."""
        assert self.source.decoded is not None
        generator = self.source.generator(self.kind, sample, place)
        found: list[Tensor] = []
        for other in self.others(sample, generator):
            if len(found) == VOICES:
                break
            start = float(torch.rand((), generator=generator))
            try:
                wave = self.source.decoded(other.items(self.input)[0])
            except UserError:
                self.source.note(self.kind, "cannot be read, so it was not used as babble", other)
                continue
            part = wave[(int(start * len(wave)) + torch.arange(length)) % len(wave)].double()
            if strength := power(part):
                found.append((part / strength**0.5).float())
        return found

    def others(self, sample: Sample, generator: torch.Generator) -> Iterator[Sample]:
        """Rows with other recordings and other groups, in a drawn order; first those that share no group among themselves."""
        rows = self.source.samples
        order = [rows[k] for k in torch.randperm(len(rows), generator=generator).tolist()]
        taken, waiting, files = [sample], [], {sample.items(self.input)}
        for row in order:
            own = row.items(self.input)
            if not own or own in files or row.id == sample.id or kin(row, sample):
                continue
            if any(kin(row, one) for one in taken):
                waiting.append(row)
                continue
            taken.append(row)
            files.add(own)
            yield row
        for row in waiting:
            if row.items(self.input) not in files:
                files.add(row.items(self.input))
                yield row


def kin(one: Sample, other: Sample) -> bool:
    """Whether two samples share any group."""
    return any(other.groups.get(name) == group for name, group in one.groups.items())


def power(wave: Float[Tensor, " samples"]) -> float:
    """The mean square."""
    return float(wave.double().square().mean())
