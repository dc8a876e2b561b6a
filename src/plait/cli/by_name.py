"""Inputs on the command line by their names: `--before a.png`, `--input before=a.png`.

In: the words of a command; the names of the inputs of the run that it is about.
Out: input → what was given for it.
Invariant: an option that a command has is never an input; a word that is neither an option nor the name of an input is refused
with the nearest right one, as misspelt options are everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer
from typer.core import TyperCommand

from plait.errors import UserError, nearest

ASIDE = "--by-name"
"""The hidden option under which a command gets the options that it does not know, each as it was written."""

HELP = ("--help", "-h")


class Named(NamedTuple):
    """A word that looks like an option and is none of the command's: perhaps the name of an input."""

    option: str
    value: str | None

    @classmethod
    def read(cls, word: str) -> Named:
        """`--before=a.png`, or an option that nothing stands behind."""
        option, equals, value = word.partition("=")
        return cls(option, value if equals else None)

    @property
    def name(self) -> str:
        """The input that it names: an option may be written with '-'."""
        return self.option[2:].replace("-", "_")


class TakesInputs(TyperCommand):
    """A command that sets the options that it does not know aside, since they may be inputs of its run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set them aside; what is left is read as ever."""
        options = {option: one for one in self.get_params(ctx) for option in (*one.opts, *one.secondary_opts)}
        waiting, rest, named = list(args), [], []
        while waiting:
            word = waiting.pop(0)
            option, equals, _ = word.partition("=")
            if word == "--":
                waiting, behind = [], [word, *waiting]
                rest += behind
            elif option in options or not option.startswith("--"):
                rest.append(word)
                if option in options and not equals and takes_value(options[option]) and waiting:
                    rest.append(waiting.pop(0))
            elif not equals and waiting and not waiting[0].startswith("--"):
                named.append(f"{word}={waiting.pop(0)}")
            else:
                named.append(word)
        try:
            return super().parse_args(ctx, [*(part for word in named for part in (ASIDE, word)), *rest])
        except Exception as error:
            if named and type(error).__name__ == "MissingParameter":  # a flag that is misspelt took the word behind it
                raise no_such_option(Named.read(named[0]), (), options) from None
            raise


def takes_value(option: Any) -> bool:
    """Whether the word behind an option is its value."""
    return option.param_type_name == "option" and not option.is_flag


def no_such_option(one: Named, inputs: Iterable[str], options: Collection[str]) -> UserError:
    """One message for a word that is neither an option nor an input."""
    options = [option for option in options if option.startswith("--") and option != ASIDE]
    free = [f"--{name}" for name in inputs if f"--{name}" not in options]
    near = nearest(one.option, [*free, *options])
    right = f"Did you mean {near}? " if near else ""
    right += f"The run's inputs: {', '.join(free)}. " if free else ""
    return UserError(f"No such option: {one.option}", right=f"{right}plait generate --help shows what there is")


Aside = Annotated[list[str] | None, typer.Option(ASIDE, hidden=True)]


def options_of(command: Callable[..., Any]) -> tuple[str, ...]:
    """All options of a command, as they are written (typer takes the first one for a default until it makes the command)."""
    found = [
        option
        for hint in get_type_hints(command, include_extras=True).values()
        for one in getattr(hint, "__metadata__", ())
        for option in (getattr(one, "default", None), *(getattr(one, "param_decls", None) or ()))
        if isinstance(option, str)
    ]
    return (*found, *HELP)


def pairs_of(words: Sequence[str], where: str = "--input") -> list[tuple[str, str]]:
    """`NAME=VALUE` → name and value."""
    found: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} has no '='", where=where, right=f"Write NAME=VALUE: {where} before=a.png")
        found.append((name.strip(), value))
    return found


def refuse_unknown(named: Sequence[Named], inputs: Sequence[str], command: Callable[..., Any]) -> None:
    """One message for an option that is no input, or has no value."""
    for one in named:
        if one.name not in inputs:
            raise no_such_option(one, inputs, options_of(command))
        if one.value is None:
            raise UserError(f"{one.option} needs a value", right=f"Write {one.option} VALUE")


def given_inputs(
    words: Sequence[str], named: Sequence[Named], first: Mapping[str, object], inputs: Sequence[str]
) -> dict[str, Any]:
    """Input → its value, or a list of several: of `--text` and so on (`first`), of `--input` (`words`), of options by its name."""
    pairs = pairs_of(words)
    for name, _ in pairs:
        if name not in inputs:
            near = nearest(name, inputs)
            right = f"{f'Did you mean {near!r}? ' if near else ''}It reads {', '.join(inputs) or 'no inputs'}"
            raise UserError(f"this model has no input {name!r}", where="--input", right=right)
    found: dict[str, list[Any]] = {}
    for name, value in [*first.items(), *pairs, *((one.name, one.value) for one in named)]:
        if value is not None:
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def as_words(name: str, item: object, options: Iterable[str]) -> list[str]:
    """The words that give an item of an input: `--NAME VALUE` where that is free or means the input."""
    import json

    value = json.dumps(item) if isinstance(item, tuple) else "FILE" if hasattr(item, "data") else str(item)
    if isinstance(item, str) and len(item) > 80:
        value = item[:80].rsplit(" ", 1)[0]
    own = ("--text", "--image", "--audio")
    return [f"--{name}", value] if f"--{name}" in own or f"--{name}" not in options else ["--input", f"{name}={value}"]


def written_inputs(run: Path) -> tuple[str, ...] | None:
    """The inputs of the run in a folder as its configuration states them, before anything of it is loaded; None: not stated."""
    import yaml

    from plait.data.inputs import as_mapping
    from plait.run import CONFIG, check_folder

    check_folder(run)
    try:
        stated = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))["data"]["inputs"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None  # whoever loads the run says what is wrong
    return None if stated is None else tuple(as_mapping(stated))
