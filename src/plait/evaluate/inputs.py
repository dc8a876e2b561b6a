"""Sets of a run's inputs in words: their order, their name as a file or a column, and names that the run does not have.

In: names of inputs, in any order.
Out: the same in the run's order; `image+audio`, or `no_input`.
Invariant: two sets of inputs never have one name. Names of inputs are identifiers, so a plus stands in none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from plait.errors import UserError, did_you_mean

NO_INPUT = "no_input"


def set_name(names: Iterable[str]) -> str:
    """`image+audio`, or `no_input`; an input that is itself called so keeps a plus, so that it is told from none."""
    found = "+".join(names)
    return f"{found}+" if found == NO_INPUT else found or NO_INPUT


def in_run_order(names: Collection[str], inputs: Sequence[str]) -> tuple[str, ...]:
    """These names in the order of the run, each once; what the run does not have stands last, as it was given."""
    return (*(name for name in inputs if name in names), *(n for n in dict.fromkeys(names) if n not in inputs))


def checked_inputs(names: Collection[str] | None, inputs: Sequence[str], *, where: str) -> tuple[str, ...] | None:
    """The inputs to which something is restricted, in the run's order (None: not restricted); an unknown one is refused."""
    if names is None:
        return None
    for name in names:
        if name not in inputs:
            right = did_you_mean(name, inputs) if inputs else "It reads no inputs"
            raise UserError(f"this model reads no input {name!r}", where=where, right=right)
    return in_run_order(names, inputs)
