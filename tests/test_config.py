"""Configuration: what is written reads back equal; a mistake is one message with the place and what would be right."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plait.choices import KINDS
from plait.config import RunConfig, apply_overrides, config_yaml, json_schema, make_config, read_config, read_tree
from plait.config.reading import AXES
from plait.errors import UserError

EVERY_KIND = [(place, kind) for place, axis in AXES.items() for kind in KINDS[axis]]
NEEDED: dict[str, dict[str, Any]] = {
    "file": {"path": "t.json"},
    "temperature_sampling": {"tag": "t"},
    "inverse_frequency": {"tag": "t"},
}
"""What a kind cannot do without."""
CUSTOM = '''
from typing import Literal
from plait.fusion.concat import ConcatConfig

class DoubleConfig(ConcatConfig):
    """A fusion of one's own."""

    kind: Literal["own_fusion:DoubleConfig"] = "own_fusion:DoubleConfig"
    strength: float = 1.0
'''


def nested(place: str, value: object) -> dict[str, Any]:
    """`{"a": {"b": value}}` of "a.b", beside a manifest."""
    tree: dict[str, Any] = {"data": {"manifest": "m.jsonl"}}
    node = tree
    *parents, last = place.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    return tree


def part(config: RunConfig, place: str) -> Any:
    """The part of a configuration at a dotted place."""
    value: Any = config
    for name in place.split("."):
        value = getattr(value, name)
    return value


def again(config: RunConfig) -> RunConfig:
    """Written and read."""
    return make_config(yaml.safe_load(config_yaml(config)))


@pytest.mark.parametrize("section", ["train.alignment", "train.ctc"])
def test_a_section_that_is_null_can_be_set_by_an_override(section: str):
    """Previously, a written configuration, in which every value stands, refused `train.alignment.weight=0.5`."""
    keys = ["segment=heard", "weight=0.5"]
    config = again(RunConfig.model_validate(nested(section, None)))
    tree = yaml.safe_load(config_yaml(config))
    changed = make_config(apply_overrides(tree, [f"{section}.{key}" for key in keys]))
    assert (part(changed, section).segment, part(changed, section).weight) == ("heard", 0.5)
    with pytest.raises(UserError, match="train holds a value and no keys"):
        apply_overrides({"train": 5}, ["train.ctc.weight=0.5"])


@pytest.mark.parametrize(("place", "kind"), EVERY_KIND)
def test_every_kind_is_written_and_read_back_equal(place: str, kind: str):
    value = {"kind": kind, **NEEDED.get(kind, {})}
    config = make_config(nested(place, value))
    assert part(config, place).kind == kind
    assert again(config) == config
    assert type(part(again(config), place)) is type(part(config, place))


@pytest.mark.parametrize("kind", KINDS["embedding"])
@pytest.mark.parametrize("place", ["lm.embedding", "encoders.text.embedding"])
def test_every_embedding_is_written_and_read_back_equal(place: str, kind: str):
    config = make_config(nested(place, {"kind": kind}))
    assert again(config) == config


def test_every_axis_of_the_tree_is_one_that_overrides_know():
    assert set(KINDS) == {*AXES.values(), "embedding"}


@pytest.mark.parametrize(("place", "kind"), [(p, k) for p, k in EVERY_KIND if k not in NEEDED])
def test_a_bare_word_means_its_kind(place: str, kind: str):
    assert make_config(nested(place, kind)) == make_config(nested(place, {"kind": kind}))


@pytest.mark.parametrize("place", AXES)
def test_an_unknown_kind_names_the_known_ones(place: str):
    with pytest.raises(UserError) as error:
        make_config(nested(place, {"kind": "nonsense"}), where="run.yaml")
    assert f"run.yaml: {place}" in str(error.value)
    assert "'nonsense'" in str(error.value)
    assert all(kind in str(error.value) for kind in KINDS[AXES[place]])


@pytest.mark.parametrize(
    ("tree", "place", "right"),
    [
        ({"trian": {}}, "top level", "'train'"),
        ({"train": {"step": 5}}, "train", "'steps'"),
        ({"fusion": {"kind": "concat", "aling": "mean"}}, "fusion", "'align'"),
        ({"encoders": {"image": {"kind": "vit", "pach": 4}}}, "encoders.image", "'patch'"),
        ({"data": {"manifest": "m", "audio": {"max_second": 3}}}, "data.audio", "'max_seconds'"),
    ],
)
def test_an_unknown_key_names_its_place_and_the_nearest_right_one(tree: dict[str, Any], place: str, right: str):
    with pytest.raises(UserError) as error:
        make_config({"data": {"manifest": "m"}, **tree}, where="run.yaml")
    assert f"run.yaml: {place}: unknown key" in str(error.value)
    assert f"Did you mean {right}?" in str(error.value)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"train": {"steps": 0}}, ["train.steps", "not 0"]),
        ({"train": {"steps": "many"}}, ["train.steps", "'many'"]),
        ({"width": 4}, ["width", "not 4"]),
        ({"data": {}}, ["data.manifest is missing"]),
        ({"train": {"checkpoint_every": "soon"}}, ["train.checkpoint_every", "'soon'", "30s"]),
        ({"evaluate": {"metrics": {"answer": ["acuracy"]}}}, ["evaluate.metrics", "'accuracy'"]),
        ({"data": {"manifest": "m", "inputs": ["pictures"]}}, ["data.inputs", "'pictures'"]),
    ],
)
def test_a_wrong_value_is_shown_with_its_key(tree: dict[str, Any], words: list[str]):
    with pytest.raises(UserError) as error:
        make_config({"data": {"manifest": "m"}, **tree}, where="run.yaml")
    assert all(word in str(error.value) for word in ["run.yaml", *words]), str(error.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError) as error:
        make_config({"data": {"manifest": "m"}, "width": 1, "train": {"steps": 0}})
    assert len(str(error.value).splitlines()) == 2


# -- files --


def write(folder: Path, text: str) -> Path:
    """A configuration file."""
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {manifest: a}\nwidth: 16\nwidth: 32\n", [":3", "'width'", "twice"]),
        ("data: {manifest: a, manifest: b}\n", [":1", "'manifest'", "twice"]),
        ("data: [", ["not YAML"]),
        ("- a\n", ["mapping"]),
        ("", ["mapping"]),
        ("data: !!python/object:os.system {}\n", ["not YAML"]),
    ],
)
def test_a_file_that_is_no_configuration(text: str, words: list[str], tmp_path: Path):
    with pytest.raises(UserError) as error:
        read_config(write(tmp_path, text))
    assert all(word in str(error.value) for word in ["run.yaml", *words]), str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="plait init"):
        read_config(tmp_path / "gone.yaml")


def test_a_manifest_is_relative_to_its_file(tmp_path: Path):
    config = read_config(write(tmp_path, "data: {manifest: sub/m.jsonl}\n"))
    assert config.data.manifest == str(tmp_path / "sub" / "m.jsonl")


# -- overrides --


def test_a_new_kind_drops_what_only_the_old_one_had():
    tree = {"data": {"manifest": "m"}, "fusion": {"kind": "concat", "align": "mean", "at": 0}}
    config = make_config(apply_overrides(tree, ["fusion.kind=attention"]))
    assert (
        config.fusion.model_dump()
        == make_config({**tree, "fusion": {"kind": "attention", "at": 0}}).fusion.model_dump()
    )
    assert tree["fusion"]["kind"] == "concat"


def test_the_same_kind_keeps_its_siblings():
    tree = {"fusion": {"kind": "concat", "align": "mean"}}
    assert apply_overrides(tree, ["fusion.kind=concat"]) == tree


def test_a_bare_kind_takes_options():
    tree = apply_overrides({"lm": "lstm"}, ["lm.layers=1"])
    assert tree == {"lm": {"kind": "lstm", "layers": 1}}


@pytest.mark.parametrize("override", ["train.steps", "=5", "", "  =5"])
def test_an_override_without_key_or_value_is_refused(override: str):
    with pytest.raises(UserError, match="is not an override"):
        apply_overrides({}, [override])


def test_an_override_through_a_value_is_refused():
    with pytest.raises(UserError, match="width holds a value"):
        apply_overrides({"width": 16}, ["width.more=1"])


KEYS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map(".".join)
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.lists(st.integers(), max_size=3))


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4))
def test_overrides_set_what_they_name_and_leave_the_tree_alone(pairs: list[tuple[str, Any]]):
    tree: dict[str, Any] = {"a": {"b": {"c": 1}}, "d": {}}
    before = json.dumps(tree)
    try:
        changed = apply_overrides(tree, [f"{key}={json.dumps(value)}" for key, value in pairs])
    except UserError:
        changed = None
    assert json.dumps(tree) == before
    if changed is not None and pairs:
        node: Any = changed
        for name in pairs[-1][0].split("."):
            node = node[name]
        assert node == pairs[-1][1]


# -- one's own kinds --


def test_a_kind_of_ones_own_is_loaded_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_fusion.py").write_text(CUSTOM, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = make_config(nested("fusion", {"kind": "own_fusion:DoubleConfig", "strength": 2.0}))
    assert type(config.fusion).__name__ == "DoubleConfig"
    assert part(config, "fusion.strength") == 2.0
    assert again(config) == config
    with pytest.raises(UserError, match=r"unknown key 'strenght'.*'strength'"):
        make_config(nested("fusion", {"kind": "own_fusion:DoubleConfig", "strenght": 2.0}))
    monkeypatch.delitem(sys.modules, "own_fusion")


@pytest.mark.parametrize("kind", ["no_such_module:Config", "json:NoSuchClass", "json:JSONDecoder"])
def test_a_kind_of_ones_own_that_cannot_be_loaded_says_why(kind: str):
    with pytest.raises(UserError, match=kind):
        make_config(nested("fusion", {"kind": kind}))


# -- the schema --


def test_the_shipped_schema_is_up_to_date():
    shipped = json.loads(files("plait").joinpath("schema.json").read_text(encoding="utf-8"))
    assert shipped == json_schema(), "write it anew: plait schema --out src/plait/schema.json"


def keys_of(schema: dict[str, Any], node: dict[str, Any]) -> set[str]:
    """The keys that a schema's object may have, through references and alternatives."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    others = chain(node.get("oneOf", ()), node.get("anyOf", ()), node.get("allOf", ()))
    return set(node.get("properties", {})).union(*(keys_of(schema, other) for other in others))


def test_the_schema_knows_every_key_of_the_demo():
    schema = json_schema()
    tree = read_tree(Path(str(files("plait").joinpath("demo/demo.yaml"))))
    assert set(tree) <= set(schema["properties"])
    for section, values in tree.items():
        if isinstance(values, dict):
            assert set(values) <= keys_of(schema, schema["properties"][section]), section
