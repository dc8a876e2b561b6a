"""What the user may say about the training of one part of the model.

In: `train.parts:` of a run's YAML, a mapping from the names of parts to what is said of each.
Out: frozen `PartConfig`s by dotted name, and what they make of any part or parameter.
Invariant: a part is named as the model names it (`lm`, `lm.embedding`, `encoders.photo`); of two that hold a parameter the longer
name decides. The configuration alone tells it, before there is a model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from plait.choices import Config
from plait.errors import did_you_mean


class PartConfig(Config):
    """How a part trains: `learning_rate` in the place of `train.learning_rate` (warm-up and fall are the same), or not at all."""

    learning_rate: Annotated[float, Field(gt=0.0)] | None = None
    freeze: bool | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> PartConfig:
        if self.freeze and self.learning_rate is not None:
            raise ValueError(f"a frozen part has no learning rate, and this one states {self.learning_rate}")
        return self

    @property
    def says_nothing(self) -> bool:
        """Whether it leaves everything to the parts around it."""
        return self.freeze is None and self.learning_rate is None


Parts = Mapping[str, PartConfig]


def by_dotted_name(said: Any) -> Any:
    """The parts by their whole names: `{lm: {embedding: {freeze: true}}}`, as overrides write it, is `lm.embedding`."""
    if not isinstance(said, Mapping):
        return said
    found: dict[str, dict[str, Any]] = {}
    for first, one in said.items():
        for name, options in flattened(str(first), one):
            before = found.setdefault(name, {})
            for key, value in options.items():
                if before.setdefault(key, value) != value:
                    raise ValueError(f"{name}.{key} is stated twice, as {before[key]} and as {value}")
    return found


def flattened(name: str, said: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A part with its options, then the parts that are written inside of it."""
    if isinstance(said, PartConfig):
        said = said.model_dump()
    if not isinstance(said, Mapping | None):
        raise ValueError(f"{name} must be a mapping, such as {{freeze: true}}, not {said!r}")
    inner = {key: value for key, value in (said or {}).items() if isinstance(value, Mapping | PartConfig)}
    options = {key: value for key, value in (said or {}).items() if key not in inner and value is not None}
    for key in options:
        if key not in PartConfig.model_fields:
            raise ValueError(f"{name}: unknown key {key!r}. {did_you_mean(str(key), PartConfig.model_fields)}")
    if options or not inner:
        yield name, options
    for key, value in inner.items():
        yield from flattened(f"{name}.{key}", value)


def is_in(name: str, part: str) -> bool:
    """Whether something of this name is the part or in it."""
    return name == part or name.startswith(f"{part}.")


def decided(parts: Parts, *names: str) -> PartConfig:
    """What holds for a part or parameter, which has several names where inputs share an encoder.

    The longest name that says anything decides; a learning rate that it does not state is that of the next one that does.
    """
    said = [parts[part] for part in sorted(parts, key=depth, reverse=True) if any(is_in(name, part) for name in names)]
    said = [one for one in said if not one.says_nothing]
    if not said:
        return PartConfig()
    if said[0].freeze:
        return PartConfig(freeze=True)
    rate = next((one.learning_rate for one in said if one.learning_rate is not None), None)
    return PartConfig(freeze=False, learning_rate=rate)


def depth(part: str) -> int:
    """How far inside the model a part is."""
    return part.count(".")


def is_frozen(parts: Parts, *names: str) -> bool:
    """Whether all of a part stays as it begins."""
    inside = [part for part in parts if any(is_in(part, name) for name in names)]
    return bool(decided(parts, *names).freeze) and all(
        decided(parts, part).freeze or parts[part].says_nothing for part in inside
    )


def refuse_trained(parts: Parts, frozen: Collection[str]) -> None:
    """ValueError where a part of an encoder that `encoders.freeze` keeps is to train."""
    for part in parts:
        for name in frozen:
            if is_in(part, f"encoders.{name}") and decided(parts, part).freeze is False:
                raise ValueError(
                    f"encoders.freeze keeps the encoder of {name} as it begins, and train.parts trains {part}: leave one of "
                    "the two out"
                )


def of_inputs(parts: Mapping[str, Any], inputs: Collection[str]) -> dict[str, Any]:
    """What is said of a model that reads only these inputs: without any it has neither encoders nor a fusion."""
    found = {}
    for part, one in parts.items():
        top, _, inside = part.partition(".")
        if top == "encoders" and inside and inside.partition(".")[0] not in inputs:
            continue
        if inputs or top not in ("encoders", "fusion"):
            found[part] = one
    return found
