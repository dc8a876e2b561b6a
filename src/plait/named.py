"""Modules and parameters by the names of inputs, which never become attributes.

In: a mapping from names (of inputs, or of pairs of them) to modules or parameters.
Out: a module that is read like the mapping; the names of a model's tensors as they were before it.
Invariant: an input may be called whatever it likes (`nn.ModuleDict` refuses `type`, `values`, `train` …): every member is
registered as `input_NAME`, a name that no module of PyTorch has as its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from torch import Tensor, nn

Member = TypeVar("Member", bound=nn.Module | Tensor)

START = "input_"
PAIR = "__"
"""Between the names of a pair; no name of an input holds it."""


class ByName(nn.Module, Generic[Member]):
    """A mapping of modules or parameters whose keys are no attributes."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        super().__init__()
        self._keys = tuple(members)
        for name, member in members.items():
            setattr(self, START + name, member)

    def __getitem__(self, name: str) -> Member:
        if name not in self._keys:
            raise KeyError(name)
        return getattr(self, START + name)

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> tuple[str, ...]:
        """The names in order."""
        return self._keys

    def items(self) -> Iterator[tuple[str, Member]]:
        """Names and members in order."""
        return ((name, self[name]) for name in self._keys)


def pair_of(one: str, other: str) -> str:
    """The name of an ordered pair of inputs."""
    return f"{one}{PAIR}{other}"


def name_before(model: nn.Module, name: str) -> str:
    """What a tensor of the model was called while names were attributes: `encoders.image.…` for `encoders.input_image.…`."""
    module: object = model
    parts: list[str] = []
    for part in name.split("."):
        is_named = isinstance(module, ByName)
        parts.append(part.removeprefix(START).replace(PAIR, "_") if is_named else part)
        module = getattr(module, part, None)
    return ".".join(parts)


def as_named_now(model: nn.Module, tensors: Mapping[str, Tensor], *, slots: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by the names that the model has for them today; `slots`: behind each stands a slot of the optimiser."""
    names = [name for name, _ in model.named_parameters()] if slots else list(model.state_dict())
    now = {name_before(model, name): name for name in names}
    now = {before: name for before, name in now.items() if before != name}
    if not now:
        return dict(tensors)
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name, dot, slot = key.rpartition(".") if slots else (key, "", "")
        found[f"{now.get(name, name)}{dot}{slot}"] = tensor
    return found
