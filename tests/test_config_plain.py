"""YAML: whatever a file or an override says becomes plain data of its own size, or one message with its line."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plait.compare.arms import arms_in
from plait.config import apply_overrides, read_config, read_tree
from plait.config.plain import MAX_COPIED, MAX_DEPTH, plain, written
from plait.errors import UserError

LETTERS = "abcdefghijklmnopqrstuvwxy"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{LETTERS[i + 1]}: &{LETTERS[i + 1]} [{', '.join(['*' + LETTERS[i]] * 10)}]\n" for i in range(24)
)
PAIRS = "a: &a {k: 1}\n" + "".join(
    f"{LETTERS[i + 1]}: &{LETTERS[i + 1]} {{x: *{LETTERS[i]}, y: *{LETTERS[i]}}}\n" for i in range(24)
)

REFUSED = {
    "billion laughs": (LAUGHS, ":4: aliases", "repeat more than 10,000 values"),
    "billion laughs in mappings": (PAIRS, "aliases", "repeat more than 10,000 values"),
    "many aliases": (f"a: &a {{x: 1}}\nb: [{', '.join(['*a'] * MAX_COPIED)}]\n", ":2: aliases"),
    "an alias to itself": ("data: &a {manifest: m.jsonl, split: *a}\n", ":1: *a stands inside what it repeats"),
    "a list in itself": ("a: &a [*a]\n", "*a stands inside"),
    "merged into itself": ("a: &a\n  <<: *a\n", ":2: *a stands inside"),
    "3,000 lists": ("[" * 3000 + "]" * 3000, f"nested more than {MAX_DEPTH} levels deep"),
    "3,000 mappings": ("{a: " * 3000 + "}" * 3000, "levels deep"),
    "3,000 levels of indentation": ("\n".join(" " * i + "a:" for i in range(3000)), "levels deep"),
    "lists that never end": ("[" * 100_000, "levels deep"),
    "5,000 digits": ("seed: " + "9" * 5000, ":1: '9999", "a number of 5,000 characters"),
    "5,000 hexadecimal digits": ("seed: 0x" + "f" * 5000, "a number of 5,002 characters"),
    "5,000 digits of base 60": ("seed: 1" + ":59" * 5000, "a number of 15,001 characters"),
    "5,000 digits and a point": ("seed: 1." + "9" * 5000, "a number of 5,002 characters"),
    "a binary number without digits": ("a: 0b_", "'0b_' is read as int and is none"),
    "month 13": ("a: 2024-13-45", "'2024-13-45' is read as timestamp and is none", "quote it"),
    "a list as a key": ("? [a, b]\n: c\n", ":1: a list stands as a key"),
    "a mapping as a key": ("? {a: b}\n: c\n", ":1: a mapping stands as a key"),
    "a placeholder": ("data: {manifest: {{dir}}}\n", ":1: ", "placeholder of a template"),
    "a placeholder in a path": ("data: {manifest: {{dir}}/m.jsonl}\n", ":1: ", "placeholder of a template"),
    "a placeholder alone": ("{{x}}\n", "placeholder of a template"),
    "a key of a page": ("a" * 501 + ": 1", "a key of 501 characters"),
    "yes as a key": ("values: {yes: 2.0}", ":1: YAML reads the key yes as true. Quote it: 'yes'."),
    "No as a key": ("values:\n  No: 2.0", ":2: YAML reads the key No as false. Quote it: 'No'."),
    "on as a key": ("on: 1", "Quote it: 'on'."),
    "off as a key": ("{off: 1}", "Quote it: 'off'."),
    "null as a key": ("{null: 1}", "YAML reads the key null as null. Quote it: 'null'."),
    "07 as a key": ("{07: 1}", "YAML reads the key 07 as 7. Quote it: '07'."),
    "an empty key": ("? \n: 1", "a key is empty"),
    "a key said twice": ("a: 1\na: 2\n", ":2: key 'a' is said twice"),
    "an object": ("a: !!python/object/apply:os.system [ls]", "not YAML", "python/object/apply:os.system"),
    "a set": ("a: !!set {x, y}", "not YAML"),
    "a tag that does not fit": ("a: !!int abc", "'abc' is read as int and is none"),
    "no truth value": ("a: !!bool maybe", "'maybe' is read as bool and is none"),
    "no time": ("a: !!timestamp abc", "is read as timestamp and is none"),
    "a list that is called a mapping": ("a: !!map [1]", "is no mapping of keys"),
    "half a surrogate pair": ('a: "\\ud800"', r"half a surrogate pair (\ud800)"),
    "beyond Unicode": ('a: "\\UFFFFFFFF"', "not YAML"),
    "a NUL": ("a: 1\nb: \x00", ":2: not YAML: the character U+0000"),
    "another version of YAML": ("%YAML 9.9\n---\na: 1", "not YAML"),
    "two documents": ("a: 1\n---\nb: 2", "not YAML"),
}


def as_configuration(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    read_config(path)


def as_arms(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    list(arms_in(path))


def as_tree(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    read_tree(path)


READERS: dict[str, Callable[[Path, str], None]] = {"run": as_configuration, "arms": as_arms, "tree": as_tree}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", REFUSED)
def test_every_file_is_refused_with_its_line(name: str, reader: str, tmp_path: Path):
    """Previously, 25 levels of aliases took over 30 s and 0.9 GB, and an alias to itself, 3,000 levels, a number of 5,000 digits, a
    list or `{{x}}` as a key and `\\UFFFFFFFF` were tracebacks."""
    text, *words = REFUSED[name]
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        READERS[reader](tmp_path / "f.yaml", text)
    assert time.monotonic() - began < 2
    for word in ("f.yaml", *words):
        assert word in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", [name for name, (text, *_) in REFUSED.items() if "\n" not in text])
def test_every_override_is_refused_by_its_key(name: str):
    text, *words = REFUSED[name]
    with pytest.raises(UserError) as caught:
        apply_overrides({}, [f"a.b={text}"])
    assert str(caught.value).startswith("a.b=: ")
    assert all(word.removeprefix(":1: ") in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: &a [1, 2]\nb: *a\n", {"a": [1, 2], "b": [1, 2]}),
        ("values: {1: 2.0, 0.5: 1, 2024-01-01: 3}", {"values": {"1": 2.0, "0.5": 1, "2024-01-01": 3}}),
        ("values: {'yes': 2.0, \"no\": 1}", {"values": {"yes": 2.0, "no": 1}}),
        ("a: yes", {"a": True}),
        ("a: 0x10", {"a": 16}),
        ("a: .inf", {"a": float("inf")}),
        ("a: 😀", {"a": "😀"}),
        ("", None),
        ("x: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2), None),
    ],
)
def test_what_yaml_is_used_for_is_read_as_before(text: str, value: object):
    assert plain(text, where="f.yaml") == (value if value is not None else yaml.safe_load(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_is_written_is_read_back(value: object):
    """Previously, a run with U+0085 or U+2028 in a name was read back with a space in its place."""
    assert plain(written(value), where="f.yaml") == value


@given(st.text(alphabet="ab&*{}[]:,?!<>|'\"%@`#- \n\t0123.~=\\xuU", max_size=60))
def test_any_text_is_data_or_one_message(text: str):
    with contextlib.suppress(UserError):
        plain(text, where="f.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("segments: [yes, no]", "data.segments.0: must be text, but YAML reads it as True: quote it"),
        ("segments: [3]", "data.segments.0: must be text, but YAML reads it as 3: quote it"),
        ("segments: [2024-01-01]", "data.segments.0: must be text, but YAML reads it as 2024-01-01: quote it"),
    ],
)
def test_a_text_that_yaml_reads_as_something_else_is_told(text: str, said: str, tmp_path: Path):
    (tmp_path / "f.yaml").write_text(f"data: {{manifest: m.jsonl, {text}}}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_config(tmp_path / "f.yaml")
    assert said in str(caught.value)


def test_a_key_that_python_gives_as_something_else_is_told():
    """Previously, the message for `{True: 2.0}` blamed the value."""
    from plait.config import make_config

    tree = {"data": {"manifest": "m", "weights": {"segment": "answer", "values": {True: 2.0}}}}
    with pytest.raises(UserError, match=r"data\.weights\.values: the key True must be text: quote it"):
        make_config(tree)


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path):
    with (tmp_path / "f.yaml").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match="has more than 8,388,608 bytes"):
        read_config(tmp_path / "f.yaml")


@pytest.mark.parametrize(
    "read", [read_tree, read_config, lambda path: list(arms_in(path))], ids=["tree", "config", "arms"]
)
def test_a_configuration_is_an_ordinary_file(read: Callable[[Path], object], tmp_path: Path):
    """Previously, `plait train PIPE` (also compare, fusions, a file of arms) waited for ever."""
    os.mkfifo(tmp_path / "f.yaml")
    for path in (tmp_path / "f.yaml", Path("/dev/zero")):
        with pytest.raises(UserError, match="is not an ordinary file"):
            read(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.yaml", "no such file. `plait init FOLDER` writes"),
        (
            "~/none.yaml",
            f"no such file. '~' is not expanded here: write the home folder in full, {Path.home()}/none.yaml",
        ),
        ("https://a.b/none.yaml", "no such file. This is an address, not a file"),
        ("x" * 300, "no such file"),
        (".", "is a folder. Give a configuration"),
        ("latin.yaml", "cannot be read: 'utf-8' codec"),
        ("loop.yaml", "cannot be read: Too many levels"),
    ],
)
def test_what_is_no_configuration_is_told(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously, '~' and addresses were "no such file" without the reason."""
    monkeypatch.chdir(tmp_path)
    Path("latin.yaml").write_bytes("größe: 1".encode("latin-1"))
    Path("loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(UserError) as caught:
        read_tree(Path(name))
    assert said in str(caught.value)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="a system without /dev/fd")
def test_a_pipe_of_ones_own_is_read():
    """`plait train <(sed … run.yaml)` goes on working, where a pipe that lies in a folder is refused."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8", newline="\n") as file:
        file.write("data: {manifest: /m.jsonl}\nwidth: 64\n")
    try:
        assert read_config(Path(f"/dev/fd/{reading}")).width == 64
    finally:
        os.close(reading)


def test_what_is_read_twice_is_not_shared():
    """A text's data are kept, and whoever reads it may change what he was given; what is one by an alias stays one."""
    text = "a: {b: [1]}\nc: &x [2]\nd: *x\n"
    first = plain(text, where="x")
    first["a"]["b"].append("changed")
    second = plain(text, where="x")
    assert second == {"a": {"b": [1]}, "c": [2], "d": [2]}
    assert second["c"] is second["d"]
