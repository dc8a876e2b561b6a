"""Kinds of samples by their tags: whatever tags and values are called, two kinds are two."""

from __future__ import annotations

from pathlib import Path

from plait.evaluate.patterns import parts_of, patterns_of
from plait.types import Sample


def samples(*tags: dict[str, str]) -> list[Sample]:
    texts = ["a", None]
    return [
        Sample(f"s{i}", "test", text=texts[i % 2], image=() if i % 2 == 0 else (Path("a.png"),), tags=tag)
        for i, tag in enumerate(tags)
    ]


def found(*tags: dict[str, str], by: tuple[str, ...] | None = None) -> dict[str, list[int]]:
    patterns, _ = patterns_of(samples(*tags), by)
    return {name: [i for i, here in enumerate(mask) if here] for name, mask in patterns.items()}


def test_a_tag_called_inputs_is_the_users_own():
    """Previously its values were replaced by the modalities of the sample."""
    tags = ({"inputs": "loud"}, {"inputs": "low"}, {"inputs": "loud"}, {})
    assert found(*tags) == {"inputs=loud": [0, 2], "inputs=low": [1]}
    assert found(*tags, by=("inputs",)) == {"inputs=loud": [0, 2], "inputs=low": [1]}
    _, notes = patterns_of(samples(*tags), ("inputs",))
    assert notes == ("figures by inputs are by the tag of that name, not by the inputs of the samples",)


def test_without_such_a_tag_inputs_are_the_modalities():
    assert found({}, {}, {}) == {"inputs=text": [0, 2], "inputs=image": [1]}
    assert found({"a": "x"}, {"a": "y"}, by=("inputs", "a"))["inputs=text,a=x"] == [0]


def test_signs_in_names_and_values_make_no_two_kinds_one():
    """Previously the tag `a` with the value `b=c` and the tag `a=b` with the value `c` were one kind, the last."""
    of = found({"a": "b=c"}, {"a=b": "c"})
    assert sorted(of.values()) == [[0], [1]]
    of = found({"x": "1", "y": "2"}, {"x": "1,y=2"}, {"x": "1", "y": "3"})
    assert of["x=1,y=2"] == [1]
    assert of['"x"="1","y"="2"'] == [0]
    assert of["x=1,y=3"] == [2]


def test_a_value_with_a_comma_is_one_kind():
    assert parts_of("city=New York, NY") == ["city=New York, NY"]
    assert parts_of("city=Paris,age=old") == ["city=Paris", "age=old"]
