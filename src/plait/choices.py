"""Configurations: small, frozen, typed; each axis a closed union told apart by `kind`.

In: plain data (from YAML or keyword arguments).
Out: a typed, frozen configuration, or a message that names the key and the nearest right one (`config.py` words it).
Invariant: a member of an axis is one class with a literal `kind`; a user's own member is named by `kind: my_module:MyConfig`;
whether its module may be imported is decided in `plait.trust`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from plait import trust
from plait.errors import UserError, did_you_mean


class Config(BaseModel):
    """The base of every configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = cls.known_keys()
            for key in data:
                if key not in known:
                    names = known if isinstance(known, Iterable) else ()
                    raise ValueError(f"unknown key {key!r}. {did_you_mean(str(key), names)}")
        return data

    def own_code(self) -> Iterator[str]:
        """What it names of code of one's own: its kind `module:Class`."""
        kind = getattr(self, "kind", None)
        if isinstance(kind, str) and ":" in kind:
            yield kind

    @classmethod
    def known_keys(cls) -> Container[str]:
        """The keys that may be said."""
        return cls.model_fields


def validated(kind: Any, value: Any, at: tuple[str, ...]) -> Any:
    """A value of an annotated type, checked by itself; mistakes are told at the keys `at`, under which it stands."""
    try:
        return adapter(kind).validate_python(value)
    except ValidationError as error:
        lines: list[InitErrorDetails] = []
        for one in error.errors():
            ctx = {"error": str(one["msg"]).removeprefix("Value error, ")}
            kind_of_error: Any = PydanticCustomError("value_error", "{error}", ctx)
            if one["type"] != "value_error":
                kind_of_error = PydanticCustomError(one["type"], "{error}", ctx)  # pyright: ignore[reportArgumentType]
            lines.append({"type": kind_of_error, "loc": (*at, *one["loc"]), "input": one["input"]})
        raise ValidationError.from_exception_data(error.title, lines) from None


def adapter(kind: Any) -> Any:
    """What checks values of an annotated type."""
    key = id(kind)
    if key not in ADAPTERS:
        ADAPTERS[key] = (kind, TypeAdapter(kind))
    return ADAPTERS[key][1]


ADAPTERS: dict[int, tuple[Any, TypeAdapter[Any]]] = {}


KINDS: dict[str, dict[str, type[Config]]] = {}
"""Every axis with its members by kind."""


def kind_of(member: type[Config]) -> str:
    """The literal `kind` of a member of an axis."""
    return get_args(member.model_fields["kind"].annotation)[0]


def own_width(part: Config, default: int) -> int:
    """The width that a part states for itself, or the run's; a kind of a user's own need not have the key."""
    width = part.model_dump(include={"width"}).get("width") if "width" in type(part).model_fields else None
    return width or default


def load_custom(axis: str, kind: str) -> type[Config]:
    """The class named by `my_module:MyConfig`, or offered by an installed package under that name (`plait.trust`)."""
    try:
        member = trust.find_class(kind) if ":" in kind else trust.find_part(kind)
    except UserError as error:
        raise ValueError(f"cannot load {axis} kind {kind!r}: {error}") from error
    if member is None and ":" in kind:
        module, _, name = kind.partition(":")
        raise ValueError(f"cannot load {axis} kind {kind!r}: the module {module} has no {name}")
    if not (isinstance(member, type) and issubclass(member, Config)):
        raise ValueError(f"{axis} kind {kind!r} is not a plait.choices.Config")
    return member


def code_of(config: Config) -> list[trust.Code]:
    """The modules of one's own that a configuration uses."""
    return trust.code_of(own_kinds(config))


def trusted(trust_code: bool | trust.Trust, config: Config | None = None) -> trust.Trust:
    """What may be imported for a run: what an option says, and what the user's own configuration names in the same command."""
    known = trust_code if isinstance(trust_code, trust.Trust) else trust.Trust(trust_code)
    own = {} if config is None else {code.module: code.digest for code in code_of(config)}
    return trust.Trust(known.everything, {**known.modules, **own})


def own_kinds(value: Any) -> Iterator[str]:
    """Every kind `module:Class` in a configuration, at any depth."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Config):
            yield from value.own_code()
            waiting += reversed([*(value.__pydantic_extra__ or {}).values()])
            waiting += [getattr(value, name) for name in reversed(type(value).model_fields)]
        elif isinstance(value, Mapping):
            waiting += reversed([*value.values()])
        elif isinstance(value, tuple | list):
            waiting += reversed(value)


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
                offered = trust.part_names()
                if isinstance(kind, str) and kind in offered:
                    return load_custom(axis, kind).model_validate(value)
                raise ValueError(f"unknown {axis} kind {kind!r}. {did_you_mean(str(kind), [*by_kind, *offered])}")
        return handler(value)

    if len(members) == 1:
        return Annotated[SerializeAsAny[members[0]], WrapValidator(choose)]
    union = Annotated[Union[members], Field(discriminator="kind")]  # noqa: UP007 - the members are a tuple
    return Annotated[SerializeAsAny[union], WrapValidator(choose)]
