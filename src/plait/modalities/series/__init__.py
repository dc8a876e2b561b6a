"""Series: numbers over time in any number of channels, such as sensors, EEG, motion, features that others computed.

In: a file known by its content (`.npy`, `.npz`, `.csv`, `.tsv`), its bytes, or a list of numbers or of rows.
Out: values and their validity `(N, 2 C)`; features of a convolutional stem and self-attention.
Invariant: see `plait.modalities.base`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from plait.choices import Config, one_of
from plait.errors import UserError
from plait.modalities.base import Blob, Facts, Field, FieldError, Item, Modality, Parts, listed, path_of
from plait.modalities.series.damage import KINDS
from plait.modalities.series.prepare import SeriesConfig, SeriesPreparer, fitted, load_series
from plait.modalities.series.reading import file_formats, packed
from plait.modalities.series.transformer import SeriesTransformerConfig
from plait.modalities.series.view import series_view, small_series, told_of
from plait.modalities.view import Seen, Small, View

if TYPE_CHECKING:
    SeriesEncoderConfig = SeriesTransformerConfig
else:
    SeriesEncoderConfig = one_of("series encoder", SeriesTransformerConfig)

RIGHT = f"Give the path of {file_formats()}; a list of numbers; or a list of rows, one for each step."
MUCH_MISSING = 0.1
"""A series of which more than this is missing is remarked on."""
TYPICAL_STEPS = 256
"""Of a series whose rate is not known."""


LIST = "the list in "
"""How the name of numbers that stood in a field begins."""


def told_number(value: Any) -> Any:
    """A number as JSON has it."""
    return None if value != value else value


class Series(Modality):
    """See the module."""

    name = "series"
    one, many = "series", "series"
    Options = SeriesConfig
    encoder_axis = "series encoder"
    encoders = SeriesEncoderConfig
    suffixes = (".npy", ".npz")
    other_names = ("sensor", "sensors", "signal", "timeseries", "time_series", "eeg", "ecg", "imu", "motion")
    holds = "a path, a list of numbers, or a list of rows"
    hue = ("#9467bd", "#b99bd6")
    remarks: ClassVar[Mapping[str, str]] = {
        "constant": "series in which no channel ever changes",
        "empty channel": "series with a channel of which every value is missing",
        "gaps": f"series of which more than {MUCH_MISSING:.0%} is missing",
    }
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "NPY": (".npy",),
        "NPZ": (".npz",),
        "CSV": (".csv", ".tsv", ".txt", ".dat"),
    }
    unit = "steps"
    damages = KINDS
    prepared_by = ("plait.modalities.series.prepare", "plait.modalities.series.reading")
    left_to_data = ("channels", "mean", "std")

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """One series, or several: a list of paths. A text that is a JSON list is that list."""
        entries = value.tolist() if isinstance(value, np.ndarray) else listed(value)
        try:
            if all(isinstance(one, str | bytes | Mapping) or hasattr(one, "__fspath__") for one in entries):
                return tuple(path_of(one, field) for one in entries)
        except TypeError:
            raise self.mistake(value, field) from None
        if not isinstance(value, list | str | np.ndarray):
            raise self.mistake(value, field)
        return (Blob(packed(self.numbers(entries, value, field)), f"{LIST}{field.name}"),)

    def numbers(self, entries: list[Any], value: Any, field: Field) -> np.ndarray:
        """A list of numbers, or of rows, as an array; null is a value that is missing."""
        what = f"{field.name} {field.shown(value)}"
        try:
            found = np.asarray(entries)
            if found.dtype.kind == "O":  # null, or whole numbers of more than 64 bits
                rows = [one if isinstance(one, list) else [one] for one in entries]
                flat = [np.nan if one is None else one for row in rows for one in row]
                if not all(isinstance(one, int | float) for one in flat) or len({*map(len, rows)}) > 1:
                    raise ValueError
                found = np.array(flat, dtype=np.float64).reshape(len(rows), -1)
        except (ValueError, OverflowError, TypeError):
            lengths = sorted({len(one) for one in entries if isinstance(one, list)})
            if len(lengths) > 1:
                rows = f"{what} has rows of {lengths[0]} and of {lengths[-1]} numbers"
                raise FieldError("type", rows, right="Give every row a number for each channel.") from None
            raise self.mistake(value, field) from None
        if found.dtype.kind not in "biuf" or found.ndim not in (1, 2):
            raise self.mistake(value, field)
        if not found.size:
            raise FieldError("type", f"{what} holds no numbers", right=RIGHT)
        return found

    def mistake(self, value: Any, field: Field) -> FieldError:
        """What is no series."""
        return FieldError("type", f"{field.name} {field.shown(value)} is not a series", right=RIGHT)

    def preparer(self, options: SeriesConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> SeriesPreparer:
        """See the base."""
        return SeriesPreparer(options)

    def fitted(self, options: SeriesConfig, items: Iterable[Item]) -> SeriesConfig:
        """With the channels, and their means and deviations, of the training series."""
        return fitted(options, items)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Any:
        """The encoder for as many channels as the series have, each with its validity."""
        assert isinstance(parts.options, SeriesConfig)
        channels = parts.options.num_channels
        if channels is None and torch.empty(0).device.type != "meta":  # of a model that is only counted, any would do
            raise UserError("the channels of the series are not known", right="Set data.series.channels.")
        return config.build(width, num_values=2 * (channels or 1))

    def look(self, item: Item, options: SeriesConfig) -> Facts:
        """Its length, its channels, and whether they are constant, empty, or have gaps."""
        values, format = load_series(item, options)  # pyright: ignore[reportArgumentType]
        gone = np.isnan(values)
        odd: dict[str, str] = {}
        if all(len(np.unique(channel[~np.isnan(channel)])) < 2 for channel in values.T):
            odd["constant"] = ""
        if empty := (np.flatnonzero(gone.all(axis=0)) + 1).tolist():
            odd["empty channel"] = f"(channel {', '.join(map(str, empty[:10]))})"
        if gone.mean() > MUCH_MISSING:
            odd["gaps"] = f"({gone.mean():.0%} of the values)"
        steps, rate = len(values), options.model_rate
        length = ("seconds", round(steps / rate, 3)) if rate else ("steps", float(steps))
        return Facts(steps, {"": length, "channels": ("channels", float(values.shape[1]))}, format, odd)

    def said_of(self, options: Config) -> dict[str, Any]:
        """The options, and what resamples where they ask for it."""
        said = super().said_of(options)
        return said if getattr(options, "rate", None) is None else {**said, "scipy": version("scipy")}

    def view(self, value: Tensor, seen: Seen) -> View:
        """See `view.py`."""
        return series_view(value, seen)

    def small(self, item: Item) -> Small:
        """See `view.py`."""
        return small_series(item)  # pyright: ignore[reportArgumentType]

    def written(self, item: Item) -> Any:
        """A list as it was given: rows of numbers, null where a value is missing."""
        if not isinstance(item, Blob) or not item.name.startswith(LIST):
            return super().written(item)
        rows = np.load(io.BytesIO(item.data), allow_pickle=False).tolist()
        return [[told_number(one) for one in row] if isinstance(row, list) else told_number(row) for row in rows]

    def told(self, item: Item) -> str:
        """A file by its path; a list by its size."""
        return told_of(item) if isinstance(item, Blob) else str(item)

    def typical(self, options: SeriesConfig, *, seconds: float, words: int) -> int:
        """So many seconds, where the rate is known."""
        rate = options.model_rate
        return max(1, min(options.max_steps, round(seconds * rate) if rate else TYPICAL_STEPS))
