"""Configurations: small, frozen, typed; each axis a closed union told apart by `kind`.

In: plain data (from YAML or keyword arguments).
Out: a typed, frozen configuration, or a message that names the key and the nearest right one (`config.py` words it).
Invariant: a member of an axis is one class with a literal `kind`; a user's own member is named by `kind: my_module:MyConfig`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, WrapValidator, model_validator

from plait.errors import did_you_mean


class Config(BaseModel):
    """The base of every configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}. {did_you_mean(str(key), cls.model_fields)}")
        return data


KINDS: dict[str, dict[str, type[Config]]] = {}
"""Every axis with its members by kind."""


def kind_of(member: type[Config]) -> str:
    """The literal `kind` of a member of an axis."""
    return get_args(member.model_fields["kind"].annotation)[0]


def load_custom(axis: str, kind: str) -> type[Config]:
    """The class named by `my_module:MyConfig`."""
    module_name, _, class_name = kind.partition(":")
    try:
        member = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load {axis} kind {kind!r}: {error}") from error
    if not (isinstance(member, type) and issubclass(member, Config)):
        raise ValueError(f"{axis} kind {kind!r} is not a plait.choices.Config")
    return member


def one_of(axis: str, *members: type[Config]) -> Any:
    """The annotated type of one axis: `{"kind": ...}`, the bare word of a kind, a `module:Class`, or a ready configuration.

    Where no kind is said, the first member is meant.
    """
    by_kind = KINDS[axis] = {kind_of(member): member for member in members}

    def choose(value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, Config):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, dict):
            kind = value.get("kind")
            if isinstance(kind, str) and ":" in kind:
                return load_custom(axis, kind).model_validate(value)
            if kind is None:
                value = {"kind": next(iter(by_kind)), **value}
            elif kind not in by_kind:
                raise ValueError(f"unknown {axis} kind {kind!r}. {did_you_mean(str(kind), by_kind)}")
        return handler(value)

    if len(members) == 1:
        return Annotated[SerializeAsAny[members[0]], WrapValidator(choose)]
    union = Annotated[Union[members], Field(discriminator="kind")]  # noqa: UP007 - the members are a tuple
    return Annotated[SerializeAsAny[union], WrapValidator(choose)]
