"""The parts of a model by their names: which train, and at which learning rate.

In: a model, and what a run says of its parts (`train.parts`).
Out: the model with parts frozen; the learning rates of parameters; rows of a table.
Invariant: names are those of the model's own structure, without what stands for an input's name in the names of its tensors. An
encoder that two inputs share has both their names, and is told of once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from plait.config.parts import PartConfig, Parts, decided, depth, is_frozen, is_in
from plait.errors import UserError, nearest
from plait.model import Model
from plait.named import name_before

WHERE = "train.parts"


class Named(NamedTuple):
    """A parameter under every name that it has."""

    names: tuple[str, ...]
    parameter: nn.Parameter


def named_parameters(model: nn.Module) -> list[Named]:
    """Every parameter once."""
    return [Named(names_of(model, name), parameter) for name, parameter in model.named_parameters()]


def names_of(model: nn.Module, name: str) -> tuple[str, ...]:
    """What a module or parameter of the model may be called: an encoder by every input that reads it."""
    own = name_before(model, name)
    top, _, rest = own.partition(".")
    owner, dot, inside = rest.partition(".")
    owners: Mapping[str, str] = vars(model).get("owners", {})
    if top != "encoders" or owner not in owners:
        return (own,)
    return tuple(f"encoders.{other}{dot}{inside}" for other in owners if owners[other] == owner)


def freeze_parts(model: Model, parts: Parts) -> None:
    """Freeze what the run says; one message for a name that is none, for what cannot be, and for what contradicts itself."""
    if not parts:
        return
    found = named_parameters(model)
    refuse_unknown([name for names, _ in found for name in names], parts)
    for names, parameter in found:
        refuse_contradiction(names, parts)
        if decided(parts, *names).freeze:
            parameter.requires_grad_(False)
    for part, said in parts.items():
        trains = any(p.requires_grad for names, p in found if any(is_in(name, part) for name in names))
        if not (said.freeze or said.says_nothing or trains):
            right = "Leave it out, or unfreeze it there"
            raise UserError(f"nothing of {part} trains: its own configuration freezes it", where=WHERE, right=right)
    model.kept = tuple(m for name, m in model.named_modules() if name and is_frozen(parts, *names_of(model, name)))


def refuse_unknown(names: list[str], parts: Parts) -> None:
    """One message for a part that the model does not have."""
    pieces = [name.split(".") for name in names]
    known = list(dict.fromkeys(".".join(piece[:number]) for piece in pieces for number in range(1, len(piece) + 1)))
    for part in parts:
        if part not in known:
            near = nearest(part, known)
            meant = f"Did you mean {near!r}? " if near else ""
            tops = ", ".join(dict.fromkeys(top_of(name) for name in names))
            right = f"{meant}Its parts: {tops}, and what is in them."
            raise UserError(f"the model has no part {part!r}", where=WHERE, right=right)


def refuse_contradiction(names: Sequence[str], parts: Parts) -> None:
    """One message where inputs share an encoder and different things are said of it under their names."""
    own = {part: one for part, one in parts.items() if part != "encoders"}
    said = [(name, decided(own, name)) for name in names]
    said = [(name, one) for name, one in said if not one.says_nothing]
    for name, one in said[1:]:
        first, before = said[0]
        if one != before:
            raise UserError(
                f"{top_of(first)} and {top_of(name)} are one encoder, but the one is said to {words(before)}, the other to "
                f"{words(one)}",
                where=WHERE,
                right=f"Say it of {top_of(first)} alone",
            )


def words(said: PartConfig) -> str:
    """What is said of a part."""
    if said.freeze:
        return "stay frozen"
    return "train" if said.learning_rate is None else f"train at {said.learning_rate:g}"


def rates_of(model: nn.Module, parts: Parts) -> dict[int, float]:
    """The learning rates that are stated, by the identity of parameters."""
    if not parts:
        return {}
    found = ((id(p), decided(parts, *names).learning_rate) for names, p in named_parameters(model))
    return {key: rate for key, rate in found if rate is not None}


def top_of(name: str) -> str:
    """The part at the top that a parameter is in; each encoder is one."""
    pieces = name.split(".")
    return ".".join(pieces[: 2 if pieces[0] == "encoders" else 1])


@dataclass(frozen=True)
class Row:
    """A part at the top, or one of which something is said; none of them holds what another holds.

    `kept`: its tensors that stay as they are; `rate`: the learning rate that is stated, None = the run's.
    """

    name: str
    trained: tuple[nn.Parameter, ...]
    kept: tuple[Tensor, ...]
    rate: float | None = None

    @property
    def num_parameters(self) -> int:
        """Trained and frozen numbers."""
        return self.num_trained + sum(p.numel() for p in self.kept if isinstance(p, nn.Parameter))

    @property
    def num_trained(self) -> int:
        """Numbers that train."""
        return sum(p.numel() for p in self.trained)


def rows_of(model: nn.Module, parts: Parts) -> list[Row]:
    """All of the model, in its order."""
    rates, members = rates_of(model, parts), dict[str, list[nn.Parameter]]()
    for names, parameter in named_parameters(model):
        inside = [max([top_of(n), *(part for part in parts if is_in(n, part))], key=depth) for n in names]
        members.setdefault(" = ".join(dict.fromkeys(inside)), []).append(parameter)
    rows: list[Row] = []
    for name, own in members.items():
        trained, kept = tuple(p for p in own if p.requires_grad), tuple(p for p in own if not p.requires_grad)
        rows.append(Row(name, trained, kept, next((rates[id(p)] for p in trained if id(p) in rates), None)))
    return rows


def table(rows: list[Row], *, learning_rate: float) -> list[str]:
    """What trains, in lines; none where all of it trains at the run's learning rate."""
    whole, trained = sum(row.num_parameters for row in rows), sum(row.num_trained for row in rows)
    if whole == trained and all(row.rate is None for row in rows):
        return []
    name_width = max(len(row.name) for row in rows)
    number_width = max(len(f"{row.num_parameters:,}") for row in rows)
    lines = [f"trains: {trained:,} of {whole:,} parameters ({share(trained, whole)})"]
    for row in rows:
        how = f"learning rate {row.rate or learning_rate:g}"
        if not row.trained:
            how = "frozen"
        elif row.num_trained < row.num_parameters:
            how = f"{share(row.num_trained, row.num_parameters)} trains, {how}"
        lines.append(f"  {row.name:<{name_width}}  {row.num_parameters:>{number_width},}  {how}")
    return lines


def share(part: int, whole: int) -> str:
    """`12 %`, `0.4 %`."""
    percent = 100 * part / max(whole, 1)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %"
