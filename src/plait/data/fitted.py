"""Options of the preparation that follow from the training data, such as the channels of series and their means.

In: a run's configuration of the data, and its training samples.
Out: the same with those options stated, under `prepare.NAME`.
Invariant: what is stated stays; what was found once holds for the run, however its data look later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plait.choices import Config
from plait.data.config import DataConfig
from plait.errors import UserError
from plait.types import Sample


def fitted(data: DataConfig, samples: Sequence[Sample]) -> DataConfig:
    """With what each input's modality finds in its training items."""
    found: dict[str, Config] = {}
    for name in data.modality_of_input:
        items = dict.fromkeys(item for sample in samples for item in sample.items(name))
        try:
            found[name] = data.modality_of(name).fitted(data.options_of(name), items)
        except UserError as error:
            raise UserError(f"{name}: {error.what}", where=error.where, right=error.right) from None
    return _prepared(data, found)


def fitted_as(data: DataConfig, run: DataConfig) -> DataConfig:
    """With what a run found, where this configuration leaves it out."""
    found: dict[str, Config] = {}
    for name in run.modality_of_input:
        options, known = data.options_of(name), run.options_of(name)
        left = [key for key in run.modality_of(name).left_to_data if getattr(options, key, "") is None]
        found[name] = options.model_copy(update={key: getattr(known, key) for key in left}) if left else options
    return _prepared(data, found)


def _prepared(data: DataConfig, found: Mapping[str, Config]) -> DataConfig:
    """With these options, where they are others."""
    new = {name: options for name, options in found.items() if options != data.options_of(name)}
    return data.model_copy(update={"prepare": {**data.prepare, **new}}) if new else data
