"""YAML as plain data, with a bound on everything that a few lines of it can make large.

In: the text of a YAML file, or of one value.
Out: plain data; or one message that names the file, the line, and what would be right.
Invariant: no object is made but plain values; what is made has about as many nodes as the text has; every key of a mapping
is text, as it stands in the file.
"""

from __future__ import annotations

import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from plait.errors import UserError
from plait.files import read_bytes

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 50
"""Levels of mappings and lists in each other; a configuration has about six."""

MAX_COPIED = 10_000
"""Nodes that aliases may repeat in all: anchors save writing, they do not multiply."""

MAX_KNOWN = 2**16
"""Characters of a text that is kept with its data; a configuration of a run has about four thousand."""

MAX_DIGITS = 100
MAX_KEY = 500
TEXT = "tag:yaml.org,2002:str"
KEPT = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
"""Keys of these kinds are taken as the text that they are, where YAML would write them the same way."""

BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
"""PyYAML folds the first three of these away where it wrote them itself, and the last one at the beginning."""

PLACEHOLDER = "`{{…}}` looks like a placeholder of a template: fill it in, or quote the whole value."


class Refused(ConstructorError):
    """What YAML would allow and Plait does not; `right` says what would be right."""

    def __init__(self, what: str, mark: Any, right: str) -> None:
        super().__init__(None, None, what, mark)
        self.right = right


class Reader(yaml.SafeLoader):
    """Safe YAML that refuses a key said twice (plain YAML would silently take the last) and what grows without bound."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.num_nodes = self.num_copied = 0
        self.begun: list[str | None] = []
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, counted; an alias counts as much as what it repeats."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            return self.repeated(event, parent, index)
        anchor = getattr(event, "anchor", None)
        if self.depth >= MAX_DEPTH:
            raise Refused(
                f"nested more than {MAX_DEPTH} levels deep", event.start_mark, "A configuration has about six."
            )
        self.depth += 1
        self.begun.append(anchor)
        before = self.num_nodes
        self.num_nodes += 1
        node = super().compose_node(parent, index)
        if isinstance(node, ScalarNode) and not node.value.isascii():
            self.refuse_half(node)
        self.sizes[id(node)] = self.num_nodes - before
        self.begun.pop()
        self.depth -= 1
        return node

    def refuse_half(self, node: ScalarNode) -> None:
        """One message for an escape that is no character: it could be written nowhere."""
        try:
            node.value.encode()
        except UnicodeEncodeError as error:
            what = f"half a surrogate pair (\\u{ord(node.value[error.start]):04x})"
            raise Refused(what, node.start_mark, "Write the character itself.") from None

    def repeated(self, event: yaml.AliasEvent, parent: Any, index: Any) -> Any:
        """The node that an alias repeats."""
        if event.anchor in self.begun:
            raise Refused(
                f"*{event.anchor} stands inside what it repeats", event.start_mark, "Write out what is meant."
            )
        node = super().compose_node(parent, index)
        size = self.sizes.get(id(node), 1)
        self.num_nodes += size
        self.num_copied += size
        if self.num_copied > MAX_COPIED:
            what = f"aliases (such as *{event.anchor}) repeat more than {MAX_COPIED:,} values"
            raise Refused(what, event.start_mark, "Write out what is meant.")
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value; one that looks like a number or a date and is none is refused with its place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            shown = shortened(node.value) if isinstance(node, ScalarNode) else "this"
            raise Refused(
                f"{shown} is read as {kind} and is none", node.start_mark, "If it is text, quote it."
            ) from None

    def construct_yaml_int(self, node: ScalarNode) -> int:
        """A whole number, not of thousands of digits."""
        self.refuse_long(node)
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: ScalarNode) -> float:
        """A number, not of thousands of digits."""
        self.refuse_long(node)
        return super().construct_yaml_float(node)

    def refuse_long(self, node: ScalarNode) -> None:
        """One message for a number that nobody means."""
        if len(node.value) > MAX_DIGITS:
            what = f"{shortened(node.value)} is a number of {len(node.value):,} characters"
            raise Refused(what, node.start_mark, "If it is text, quote it.")

    def construct_mapping(self, node: Node, deep: bool = False) -> dict[Any, Any]:
        """The mapping, each key once and each a text."""
        if not isinstance(node, MappingNode):  # `!!map` before something else
            raise Refused("is no mapping of keys", node.start_mark, "Leave the tag out.")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                what = f"a {'mapping' if isinstance(key, MappingNode) else 'list'} stands as a key"
                raise Refused(what, key.start_mark, "A key is one word.")
            if len(key.value) > MAX_KEY:
                raise Refused(f"a key of {len(key.value):,} characters", key.start_mark, "A key is one word.")
            if key.value in seen:
                raise Refused(f"key {key.value!r} is said twice", key.start_mark, "Leave one of them out.")
            seen.add(key.value)
        self.flatten_mapping(node)
        node.value = [(self.as_text(key), value) for key, value in node.value]
        return super().construct_mapping(node, deep)

    def as_text(self, key: Node) -> Node:
        """A key as text; refused where YAML reads it as something that is written in another way."""
        if not isinstance(key, ScalarNode) or key.tag not in (
            *KEPT,
            "tag:yaml.org,2002:bool",
            "tag:yaml.org,2002:null",
        ):
            return key
        value = self.construct_object(key)
        if isinstance(value, bool) or value is None or str(value) != key.value:
            if not key.value:
                raise Refused("a key is empty", key.start_mark, "Write the key.")
            read = "null" if value is None else str(value).lower()
            raise Refused(f"YAML reads the key {key.value} as {read}", key.start_mark, f"Quote it: '{key.value}'.")
        return ScalarNode(TEXT, key.value, key.start_mark, key.end_mark)


Reader.add_constructor("tag:yaml.org,2002:int", Reader.construct_yaml_int)
Reader.add_constructor("tag:yaml.org,2002:float", Reader.construct_yaml_float)
Reader.add_constructor("tag:yaml.org,2002:set", Reader.construct_undefined)  # its order would be another one each time


def read_plain(path: Path) -> Any:
    """The plain data of a YAML file, which is an ordinary file of a bounded size, or one of this process's own pipes (`<(…)`)."""
    data = read_pipe(path) if is_own_pipe(path) else read_bytes(path, max_bytes=MAX_BYTES)
    try:
        return plain(data.decode("utf-8"), where=str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"cannot be read: {error}", where=str(path), right="Save the file as UTF-8.") from None


def is_own_pipe(path: Path) -> bool:
    """Whether this names an open file of the process, as a shell's `<(…)` and `-` do: somebody writes to it, so it ends."""
    own = path.parent in (Path("/dev/fd"), Path("/proc/self/fd")) or path == Path("/dev/stdin")
    return own and path.is_fifo()


def read_pipe(path: Path) -> bytes:
    """What a pipe holds, to a bound."""
    with path.open("rb") as pipe:
        data = pipe.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UserError(f"has more than {MAX_BYTES:,} bytes", where=str(path))
    return data


def plain(text: str, *, where: str, lines: bool = True) -> Any:
    """The plain data of a YAML text; `where` is the file (with `lines` the message adds the line) or the option."""
    try:
        return deepcopy(known(text)) if len(text) <= MAX_KNOWN else loaded(text)
    except yaml.YAMLError as error:
        raise mistake(error, text, where, lines) from None
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode, a version that is no number
        raise UserError(f"not YAML: {error}", where=where) from None


def loaded(text: str) -> Any:
    """The plain data of a YAML text; a mistake is YAML's own exception."""
    reader = Reader(text)
    try:
        return reader.get_single_data()
    finally:
        reader.dispose()


known = lru_cache(maxsize=16)(loaded)
"""The same, for texts that are read again and again (a run's configuration for its values, then for its digests): each time
costs more than all of the checks on what it says. To be copied and not to be changed."""


def written(value: Any) -> str:
    """Plain data as YAML that reads back equal: where a text holds a line break of Unicode, with escapes."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return yaml.safe_dump(value, sort_keys=False) if BREAKS.search(text) else text


def mistake(error: yaml.YAMLError, text: str, where: str, lines: bool) -> UserError:
    """What is wrong with a text, and in which line."""
    if isinstance(error, yaml.reader.ReaderError):
        number = text[: error.position].count("\n")
        what = f"the character U+{int(str(error.character)):04X}: {error.reason}"
        return UserError(f"not YAML: {what}", where=f"{where}:{number + 1}" if lines else where)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"{where}:{mark.line + 1}" if mark and lines else where
    line = text.splitlines()[mark.line : mark.line + 1] if mark else []
    template = PLACEHOLDER if line and "{{" in line[0] else None
    if isinstance(error, Refused):
        return UserError(str(error.problem), where=place, right=template or error.right)
    return UserError(f"not YAML: {getattr(error, 'problem', error)}", where=place, right=template)


def shortened(text: str) -> str:
    """A value as a message shows it."""
    return repr(text if len(text) <= 40 else f"{text[:20]}…{text[-8:]}")
