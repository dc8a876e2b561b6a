"""Numbers over time become what an encoder reads: resampled, normalised, with what is missing marked.

In: a file or its bytes (see `reading`).
Out: decoded: `(N, C)` at the rate of the model, normalised, NaN where a value is missing; values `(N, 2 C)`: the channels with 0
for what is missing, then for each channel 1 where its value is there and 0 where it is not.
Invariant: a missing value makes no other one missing; a step at which all is missing stays a step, so time is never cut short; the
length by the header is the length of the value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from pydantic import Field, model_validator
from torch import Tensor

from plait.choices import Config
from plait.errors import UserError
from plait.modalities.base import Blob, Item, Preparer, stacked
from plait.modalities.series.reading import Numbers, Shape, read, shape_of

MAX_FACTOR = 10_000
"""Rates are to each other as whole numbers up to this."""


class SeriesAugmentConfig(Config):
    """Changes of the series in training only; all off by default. They are made after the normalisation."""

    noise: float = Field(default=0.0, ge=0, le=1, description="Probability of white noise.")
    snr_db: tuple[float, float] = Field(
        default=(5.0, 30.0), description="Signal-to-noise ratio of each channel: drawn between these, in dB."
    )
    scale: float = Field(default=0.0, ge=0, lt=1, description="Each channel times a factor drawn from 1 ± this.")
    channel_dropout: float = Field(default=0.0, ge=0, lt=1, description="Probability that a channel goes missing.")
    shift: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Moved in time by up to ± this share of the length; what comes in is missing.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> SeriesAugmentConfig:
        if not self.snr_db[0] <= self.snr_db[1]:
            raise ValueError(f"snr_db {list(self.snr_db)}: the first must not be above the second")
        return self


class SeriesConfig(Config):
    """How series are read: numbers over time, `(steps, channels)`.

    `channels`, `mean` and `std` are found in the training split where they are left out, and are kept in the run.
    """

    key: str | None = Field(default=None, description="The array of an .npz file that holds several.")
    channels: int | None = Field(default=None, ge=1, description="Numbers at each step.")
    source_rate: float | None = Field(default=None, gt=0, description="Steps a second in the files, in Hz.")
    rate: float | None = Field(
        default=None, gt=0, description="Steps a second that the model sees; null = as they are."
    )
    max_steps: int = Field(default=10_000, ge=1, description="A longer series, at the model's rate, is refused.")
    max_seconds: float | None = Field(default=None, gt=0, description="A longer series is refused.")
    max_values: int = Field(default=50_000_000, ge=1, description="A file of more numbers is refused, by its header.")
    normalise: Literal["train", "sample", "none"] = Field(
        default="train",
        description="Each channel to mean 0 and deviation 1: of the training split, of each series alone, or not at all.",
    )
    mean: tuple[float, ...] | None = Field(default=None, description="Of each channel in the training split.")
    std: tuple[float, ...] | None = Field(default=None, description="Of each channel in the training split.")
    augment: SeriesAugmentConfig = SeriesAugmentConfig()

    @model_validator(mode="after")
    def _fitting(self) -> SeriesConfig:
        for name in ("rate", "max_seconds"):
            if getattr(self, name) is not None and self.source_rate is None:
                raise ValueError(f"{name} needs source_rate: the steps a second in the files, in Hz")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give mean and std together, or neither: training finds them")
        for name in ("mean", "std"):
            given = getattr(self, name) or ()
            if given and self.channels not in (None, len(given)):
                raise ValueError(f"{name} has {len(given)} numbers for {self.channels} channels")
            if not all(math.isfinite(one) and (one > 0 or name == "mean") for one in given):
                raise ValueError(f"{name} {list(given)}: every number must be finite{' and above 0' * (name == 'std')}")
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} numbers and std {len(self.std)}")
        return self

    @property
    def num_channels(self) -> int | None:
        """The channels, as far as they are known."""
        return self.channels or (len(self.mean) if self.mean else None)

    @property
    def model_rate(self) -> float | None:
        """Steps a second that the model sees, where time is known at all."""
        return self.rate or self.source_rate

    @property
    def ratio(self) -> Fraction:
        """Steps of the model for each step of a file."""
        if self.rate is None or self.source_rate is None:
            return Fraction(1)
        exact = Fraction(str(self.rate)) / Fraction(str(self.source_rate))
        large = max(exact.numerator, exact.denominator) > MAX_FACTOR
        return max(exact.limit_denominator(MAX_FACTOR), Fraction(1, MAX_FACTOR)) if large else exact


def num_steps(source_steps: int, ratio: Fraction) -> int:
    """The steps of a series after resampling: as many as begin within it."""
    return -(-source_steps * ratio.numerator // ratio.denominator)


def refuse(steps: int, channels: int, options: SeriesConfig, where: str) -> None:
    """One message for a series that is too long or of other channels, by its header."""
    known = options.num_channels
    if known is not None and channels != known:
        right = f"series.channels is {known}"
        right += (
            ": (steps, channels) is read, and this looks transposed."
            if steps == known
            else ", found in training or set."
        )
        raise UserError(f"a series of {channels} channels ({steps:,} steps)", where=where, right=right)
    if options.max_seconds is not None and options.source_rate and steps / options.source_rate > options.max_seconds:
        seconds = steps / options.source_rate
        right = f"At most series.max_seconds = {options.max_seconds:g}; cut it, or raise the limit."
        raise UserError(f"a series of {seconds:,.1f} s", where=where, right=right)
    kept = num_steps(steps, options.ratio)
    if kept > options.max_steps:
        right = f"At most series.max_steps = {options.max_steps:,}; cut it, lower series.rate, or raise the limit."
        at = f" at {options.rate:g} Hz" if options.rate else ""
        raise UserError(f"a series of {kept:,} steps{at}", where=where, right=right)


def header_of(item: Item, options: SeriesConfig) -> Shape:
    """Steps and channels of a file, by its header."""
    return shape_of(item, key=options.key, max_values=options.max_values)  # pyright: ignore[reportArgumentType]


def load_series(item: Path | str | Blob, options: SeriesConfig) -> Numbers:
    """The values of a file at the rate of the model, as they are, and its format."""
    where = str(item)
    found = read(
        item,
        key=options.key,
        max_values=options.max_values,
        allowed=lambda steps, channels: refuse(steps, channels, options, where),
    )
    return Numbers(resampled(found.values, options.ratio), found.format)


def resampled(values: Float64[np.ndarray, "N C"], ratio: Fraction) -> Float64[np.ndarray, "K C"]:
    """The series with `ratio` times as many steps, low-passed as that needs (scipy's polyphase filter).

    What is missing is bridged by a straight line for the filter, and missing again behind it: at every new step around which, as
    far as it stands for, less than half of the old steps are there.
    """
    if ratio == 1:
        return values
    from scipy.signal import resample_poly

    there = ~np.isnan(values)
    whole = values if there.all() else bridged(values, there)
    if len(values) == 1:  # no line goes through one step
        found = whole.repeat(num_steps(1, ratio), axis=0)
    else:
        level = whole.mean(axis=0)  # the filter ripples by a share of what it reads, so an offset stays outside
        found = level + resample_poly(whole - level, ratio.numerator, ratio.denominator, axis=0, padtype="antireflect")
    if not there.all():
        found[~still_there(there, ratio, len(found))] = np.nan
    return found


def bridged(values: Float64[np.ndarray, "N C"], there: Bool[np.ndarray, "N C"]) -> Float64[np.ndarray, "N C"]:
    """The values, with straight lines over what is missing between them, level before the first and behind the last."""
    whole, places = values.copy(), np.arange(len(values))
    for channel in range(values.shape[1]):
        known = there[:, channel]
        whole[:, channel] = np.interp(places, places[known], values[known, channel]) if known.any() else 0.0
    return whole


def still_there(there: Bool[np.ndarray, "N C"], ratio: Fraction, steps: int) -> Bool[np.ndarray, "K C"]:
    """Of each new step, whether at least half of the old ones within half a new step are there; of none, the nearest."""
    up, down = ratio.numerator, ratio.denominator
    places = np.arange(steps)
    nearest = np.minimum((2 * places * down + up) // (2 * up), len(there) - 1)
    first = np.clip(-((down - 2 * places * down) // (2 * up)), 0, nearest)  # ⌈(k − ½) down / up⌉
    last = np.clip(-(-(2 * places + 1) * down // (2 * up)), nearest + 1, len(there))  # ⌈(k + ½) down / up⌉
    sums = np.concatenate([np.zeros((1, there.shape[1]), np.int64), there.cumsum(axis=0)])
    return 2 * (sums[last] - sums[first]) >= (last - first)[:, None]


def normalised(values: Float64[np.ndarray, "N C"], options: SeriesConfig, where: str) -> Float[Tensor, "N C"]:
    """Each channel to mean 0 and deviation 1, as the options say, in 64 bits; then 32."""
    if options.normalise == "sample":
        one = Moments.of(values)
        values = (values - one.mean) / one.std
    elif options.normalise == "train" and options.mean is not None and options.std is not None:
        values = (values - np.array(options.mean)) / np.array(options.std)
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32)
    if np.isinf(found).any():
        largest = float(np.nanmax(np.abs(values)))
        right = "Scale the values, or mark the ones that are no measurements as NaN."
        raise UserError(f"a value of {largest:.3g} is too large", where=where, right=right)
    return torch.from_numpy(found)


class Moments:
    """How many values of each channel there are, their mean, and the sum of squares about it; missing ones do not count."""

    def __init__(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        self.count, self.mean, self.squares = count, mean, squares

    @classmethod
    def of(cls, values: Float64[np.ndarray, "N C"]) -> Moments:
        """Of one series."""
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1)
            return cls(count, mean, np.where(there, values - mean, 0).__pow__(2).sum(axis=0))

    def add(self, other: Moments) -> None:
        """Those of both together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        apart = other.mean - self.mean
        self.mean = self.mean + apart * share
        self.squares = self.squares + other.squares + apart**2 * self.count * share
        self.count = count

    @property
    def std(self) -> np.ndarray:
        """The deviation of each channel (of the whole population); 1 for a channel that never changes."""
        found = np.sqrt(self.squares / np.maximum(self.count, 1))
        flat = found <= 1e-12 * np.abs(self.mean)
        return np.where(flat, 1.0, found)


def fitted(options: SeriesConfig, items: Iterable[Item]) -> SeriesConfig:
    """The options with the channels, mean and deviation of these series, where they are left out.

    Where files differ in channels, those that most of them have are meant; what cannot be read is passed over here, and refused
    where it is trained on.
    """
    asks = options.normalise == "train" and options.mean is None
    if options.num_channels is not None and not asks:
        return options
    first: UserError | None = None
    counts: Counter[int] = Counter()
    moments: dict[int, Moments] = {}
    for item in items:
        try:
            if asks:
                values = load_series(item, options).values  # pyright: ignore[reportArgumentType]
                channels, one = values.shape[1], Moments.of(values)
                if channels in moments:
                    moments[channels].add(one)
                else:
                    moments[channels] = one
            else:
                channels = header_of(item, options).channels
            counts[channels] += 1
        except UserError as error:
            first = first or error
    if not counts:
        if first is None:
            raise UserError(
                "no training sample has a series, so its channels are not known", right="Set series.channels."
            )
        raise UserError(
            f"none of the training series can be read. The first: {first.what}", where=first.where, right=first.right
        )
    channels = counts.most_common(1)[0][0]
    found: dict[str, object] = {"channels": channels}
    if asks:
        mean, std = moments[channels].mean, moments[channels].std
        if not np.isfinite(mean + std).all():
            right = "Scale the values, or mark the ones that are no measurements as NaN."
            raise UserError("the training series have values that are too large to take their deviation", right=right)
        found |= {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}
    return options.model_copy(update=found)


def noisy(values: Float[Tensor, "N C"], snr_db: float, noise: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """The series plus the noise, scaled so that in each channel the ratio of its variance to the noise's power is `snr_db`.

    Only what is there counts and changes; a channel that never changes has no such ratio and stays as it is.
    """
    there = ~values.isnan()
    count = there.sum(dim=0).clamp(min=1)
    known = torch.where(there, values, 0).double()
    about = torch.where(there, known - known.sum(dim=0) / count, 0)
    power = about.square().sum(dim=0)
    of_noise = torch.where(there, noise, 0).double().square().sum(dim=0)
    scale = (power / of_noise.clamp(min=1e-30) / 10 ** (snr_db / 10)).sqrt()
    return (values.double() + noise * scale).to(values.dtype)


def augmented(
    values: Float[Tensor, "N C"], config: SeriesAugmentConfig, generator: torch.Generator
) -> Float[Tensor, "N C"]:
    """The series, changed as the draws say; its length stays."""
    steps, channels = values.shape
    chance, place, moved = torch.rand(3, generator=generator).tolist()
    factors = 1 + config.scale * (2 * torch.rand(channels, generator=generator) - 1)
    gone = torch.rand(channels, generator=generator) < config.channel_dropout
    noise = torch.randn(values.shape, generator=generator)
    if by := round((2 * moved - 1) * config.shift * steps):
        values = shifted(values, by)
    if config.scale:
        values = values * factors
    if gone.any() and not gone.all():
        values = values.masked_fill(gone, torch.nan)
    if chance < config.noise:
        low, high = config.snr_db
        values = noisy(values, low + (high - low) * place, noise)
    return values


def shifted(values: Float[Tensor, "N C"], by: int) -> Float[Tensor, "N C"]:
    """Every step `by` later (earlier, where it is below 0); what comes in is missing."""
    found = values.roll(by, dims=0)
    empty = slice(None, by) if by > 0 else slice(by, None)
    found[empty] = torch.nan
    return found


class SeriesPreparer(Preparer):
    """Normalised `(N, C)` with NaN for what is missing, then values and validity `(N, 2 C)`."""

    decoded_is_value = False
    opens_files = True
    cost = 1.0

    def __init__(self, options: SeriesConfig) -> None:
        self.options = options
        self.changes_decoded = options.augment != SeriesAugmentConfig(snr_db=options.augment.snr_db)
        self.longest = options.max_steps
        if options.max_seconds is not None and options.source_rate is not None:
            steps = num_steps(math.floor(options.max_seconds * options.source_rate), options.ratio)
            self.longest = max(1, min(self.longest, steps))

    @property
    def preparation(self) -> str:
        """See the base."""
        return "series" + self.options.model_dump_json(exclude={"augment"})

    def decode(self, item: Item) -> Float[Tensor, "N C"]:
        """The series of a file, normalised."""
        return normalised(load_series(item, self.options).values, self.options, str(item))  # pyright: ignore[reportArgumentType]

    def change_decoded(self, decoded: Tensor, generator: torch.Generator) -> Tensor:
        """See `augmented`."""
        return augmented(decoded, self.options.augment, generator)

    def value(self, decoded: Tensor) -> Float[Tensor, "N W"]:
        """The channels with 0 for what is missing, then whether each is there."""
        there = ~decoded.isnan()
        return torch.cat([torch.where(there, decoded, 0), there.to(decoded.dtype)], dim=1)

    def collate(self, values: Sequence[Tensor]) -> tuple[Float[Tensor, "R N W"], Int[Tensor, " R"]]:
        """Padded with 0, which reads as missing; the encoder masks it besides."""
        lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
        width = values[0].shape[1] if values else self.shape(1)[1]
        return stacked(values, torch.zeros(1, width)), lengths

    def length(self, item: Item) -> int:
        """The steps after resampling, by the file's header."""
        try:
            return min(self.longest, num_steps(header_of(item, self.options).steps, self.options.ratio))
        except UserError:
            return 0

    def guessed_length(self, item: Item) -> int:
        """As if every number took 4 bytes."""
        try:
            num_bytes = len(item.data) if isinstance(item, Blob) else Path(str(item)).stat().st_size
        except (OSError, ValueError):
            return 0
        steps = num_bytes // (4 * (self.options.num_channels or 1))
        return min(self.longest, max(1, num_steps(steps, self.options.ratio)))

    def shape(self, length: int) -> tuple[int, ...]:
        """`(N, 2 C)`."""
        return (length, 2 * (self.options.num_channels or 1))

    def decoded_bytes(self, length: int) -> int:
        """Of the value, or of what was decoded where that is changed at random."""
        return 4 * length * (self.options.num_channels or 1) * (1 if self.changes_decoded else 2)

    def seconds(self, length: int) -> float:
        """By the rate, where it is known."""
        rate = self.options.model_rate
        return length / rate if rate else 0.0
