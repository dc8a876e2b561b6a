"""Arms from words: axes multiply, files name, no two alike, and baselines that fit the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.compare.arms import arms_of, split_values
from plait.errors import UserError
from tiny_data import tiny_tree

ALL = ("text", "image", "audio")


def tree(**parts: Any) -> dict[str, Any]:
    return tiny_tree(Path("/nowhere/manifest.jsonl"), **parts)


def names(words: list[str], **options: Any) -> list[str]:
    return [arm.name for arm in arms_of(tree(), words, modalities=ALL, baselines=False, **options)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["as configured"]),
        (["fusion.kind=concat,product"], ["concat", "product"]),
        (["fusion.at=0,1"], ["at=0", "at=1"]),
        (
            ["fusion.kind=concat,sum", "lm.kind=gru,lstm"],
            ["concat gru", "concat lstm", "sum gru", "sum lstm"],
        ),
        (["data.inputs=[image],[image, audio]"], ["inputs=[image]", "inputs=[image, audio]"]),
    ],
)
def test_axes_multiply(words: list[str], found: list[str]):
    assert names(words) == found


def test_an_arm_is_the_configuration_with_its_overrides():
    arms = arms_of(tree(fusion={"kind": "concat", "align": "mean"}), ["fusion.kind=attention,sum"], modalities=ALL)
    kinds = {arm.name: arm.config.fusion for arm in arms if arm.config is not None and arm.role == "candidate"}
    assert kinds["attention"].kind == "attention"  # which has no `align`: that key is dropped
    assert kinds["sum"].align == "mean"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b", ["a", "b"]),
        ("[a, b],c", ["[a, b]", "c"]),
        ("{a: 1, b: 2},3", ["{a: 1, b: 2}", "3"]),
        ("'a,b',c", ["'a,b'", "c"]),
    ],
)
def test_commas_in_brackets_and_quotes_part_nothing(text: str, values: list[str]):
    assert split_values(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "small: {width: 8}\nwide gru: {lm.kind: gru, width: 24}\n",
        "small: {width: 8}\nwide gru: {width: 24, lm: {kind: gru}}\n",
        "- {name: small, width: 8}\n- {name: wide gru, width: 24, lm: {kind: gru}}\n",
    ],
)
def test_a_file_of_arms(text: str, tmp_path: Path):
    path = tmp_path / "arms.yaml"
    path.write_text(text, encoding="utf-8")
    small, wide = arms_of(tree(), [str(path)], modalities=ALL, baselines=False)
    assert (small.name, wide.name, wide.slug) == ("small", "wide gru", "wide-gru")
    assert small.config is not None
    assert wide.config is not None
    assert (small.config.width, wide.config.width, wide.config.lm.kind) == (8, 24, "gru")


@pytest.mark.parametrize("text", ["small: {width: 8}\nas it is: {}\n", "small: {width: 8}\nas it is:\n"])
def test_an_arm_of_a_file_may_change_nothing(text: str, tmp_path: Path):
    """Previously an empty mapping became the override `={}`, which is none."""
    path = tmp_path / "arms.yaml"
    path.write_text(text, encoding="utf-8")
    _, same = arms_of(tree(), [str(path)], modalities=ALL, baselines=False)
    assert (same.name, same.overrides) == ("as it is", ())


def test_baselines_are_each_modality_alone_no_input_and_the_constant_answer():
    found = {arm.name: arm for arm in arms_of(tree(), ["fusion.kind=sum,film"], modalities=ALL)}
    assert {name: arm.role for name, arm in found.items()} == {
        "sum": "candidate",
        "film": "candidate",
        "text only": "text only",
        "image only": "unimodal",
        "audio only": "unimodal",
        "no input": "no input",
        "constant answer": "constant",
    }
    image = found["image only"].config
    assert image is not None
    assert image.data.inputs == ("image",)


def test_a_baseline_that_is_asked_for_is_there_once():
    arms = arms_of(tree(), ["data.inputs=[text, image],[text]"], modalities=ALL)
    assert [(arm.name, arm.role) for arm in arms if "text" in arm.name] == [
        ("inputs=[text, image]", "candidate"),
        ("inputs=[text]", "text only"),
    ]


def test_with_one_modality_there_is_none_alone_beside_it():
    one = tree(data={"manifest": "/nowhere/m.jsonl", "inputs": ["image"]})
    assert [a.name for a in arms_of(one, [], modalities=ALL)] == ["as configured", "no input", "constant answer"]


def test_a_baseline_keeps_nothing_that_needs_another_modality():
    base = tree(
        encoders={"image": {"kind": "vit"}, "freeze": ["image", "audio"], "start_from": {"image": "/a", "audio": "/b"}}
    )
    base["train"] |= {"ctc": {"segment": "heard"}, "alignment": {"weight": 0.1}}
    found = {arm.name: arm for arm in arms_of(base, [], modalities=ALL)}
    image, audio, nothing = (found[name].config for name in ("image only", "audio only", "no input"))
    assert None not in (image, audio, nothing)
    assert image.train.ctc is None
    assert found["image only"].notes == ("trained without train.ctc, which needs audio",)
    assert (image.encoders.freeze, dict(image.encoders.start_from)) == (("image",), {"image": "/a"})
    assert audio.train.ctc is not None
    assert nothing.train.alignment is None
    assert (nothing.encoders.freeze, dict(nothing.encoders.start_from)) == ((), {})


@pytest.mark.parametrize(
    ("balance", "image_only", "no_input"),
    [
        ({"kind": "temperature_sampling", "segment": "answer"}, "temperature_sampling", "temperature_sampling"),
        ({"kind": "dropout_schedule"}, "dropout_schedule", "none"),
        ({"kind": "ogm_ge"}, "none", "none"),
    ],
)
def test_baselines_keep_a_balance_that_needs_no_second_modality(
    balance: dict[str, Any], image_only: str, no_input: str
):
    """Previously they lost the sampling that all candidates had, "which needs two modalities"."""
    found = {arm.name: arm for arm in arms_of(tree(balance=balance), [], modalities=ALL)}
    for name, kind in (("image only", image_only), ("no input", no_input)):
        config = found[name].config
        assert config is not None
        assert config.balance.kind_name == kind
        assert bool(found[name].notes) == (kind == "none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fusion.kind=concat,concat"], "'concat' and 'concat' are the same configuration"),
        (["fusion.kind=concat", "fusion.align=attend,mean", "width=16,16"], "are the same configuration"),
        (["seed=1,2"], "'seed=1' and 'seed=2' are the same configuration"),
        (["fusion.kind=concat,produkt"], "arm produkt: fusion: unknown fusion kind 'produkt'. Did you mean 'product'"),
        (["fusion.colour=red"], "arm colour=red: fusion: unknown key 'colour'"),
        (["fusion.kind"], "'fusion.kind' names no arms. Write KEY=VALUE,VALUE"),
        (["fusion.kind=concat,,sum"], "names no arms"),
        (["=concat"], "names no arms"),
        (
            ["fusion.kind=concat", "fusion.kind=sum"],
            "two axes change fusion.kind. Write one axis: fusion.kind=concat,sum",
        ),
        (["gone.yaml"], "gone.yaml: cannot be read"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str):
    with pytest.raises(UserError) as caught:
        names(words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "a: 3", "a: [b", "a: {width: 8}\na: {width: 9}", "[sum, film]", "[3]"]
)
def test_a_file_that_holds_no_arms_is_named(text: str, tmp_path: Path):
    path = tmp_path / "arms.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        names([str(path)])
    assert str(path) in str(caught.value)


def test_two_arms_of_one_name_in_a_list_are_told(tmp_path: Path):
    """Previously the second one took the first one's place, and nothing was said."""
    path = tmp_path / "arms.yaml"
    path.write_text("- {name: a, width: 8}\n- {name: a, width: 24}\n", encoding="utf-8")
    with pytest.raises(UserError, match="two arms are called 'a'"):
        names([str(path)])


def test_broken_yaml_is_named_with_its_line(tmp_path: Path):
    path = tmp_path / "arms.yaml"
    path.write_text("a: {width: 8}\nb: [c\nd: x", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        names([str(path)])
    assert f"{path}:3: not YAML" in str(caught.value)


FIVE = {"before": "image", "after": "image", "voice": "audio", "question": "text", "answer_type": "text"}


def named(inputs: dict[str, str], **parts: Any) -> dict[str, Any]:
    base = tree(**{key: value for key, value in parts.items() if key != "data"})
    base["data"] = {"manifest": "/nowhere/m.jsonl", "inputs": inputs, **parts.get("data", {})}
    base["encoders"] = {**base["encoders"], **parts.get("encoders", {})}
    return base


def test_of_more_than_four_inputs_all_but_each_are_baselines():
    found = {arm.name: arm for arm in arms_of(named(FIVE), [], modalities=())}
    assert {name: arm.role for name, arm in found.items()} == {
        "as configured": "candidate",
        **{f"without {name}": "all but one" for name in FIVE},
        "no input": "no input",
        "constant answer": "constant",
    }
    config = found["without voice"].config
    assert config is not None
    assert list(config.inputs.items()) == [(name, of) for name, of in FIVE.items() if name != "voice"]


def test_of_four_named_inputs_each_alone_is_one():
    four = {name: of for name, of in FIVE.items() if name != "answer_type"}
    found = {arm.name: arm.role for arm in arms_of(named(four), [], modalities=(), baselines=True)}
    assert list(found)[1:] == [
        "before only",
        "after only",
        "voice only",
        "question only",
        "no input",
        "constant answer",
    ]
    assert found["question only"] == "text only"
    assert found["before only"] == "unimodal"


def test_players_come_and_go_together_in_the_baselines():
    players = {"players": [["before", "after"], ["question", "answer_type"]]}
    found = {arm.name: arm for arm in arms_of(named(FIVE, explain=players), [], modalities=())}
    assert list(found)[1:4] == ["before + after only", "voice only", "question + answer_type only"]
    config = found["before + after only"].config
    assert config is not None
    assert config.explain.players == (("before", "after"),)


def test_a_baseline_takes_with_it_what_is_said_of_its_inputs_and_nothing_else():
    """The encoder that a kept input shares stays, though its own input is gone."""
    base = named(
        FIVE,
        data={"columns": {"before": "first", "voice": "sound"}, "prepare": {"after": {"augment": {"flip": True}}}},
        encoders={
            "before": {"kind": "resnet"},
            "after": {"like": "before"},
            "question": {"layers": 2},
            "freeze": ["voice"],
        },
        evaluate={"inputs": ["voice", "after"]},
        explain={"players": [["before", "voice"], ["question", "answer_type"]]},
    )
    base["train"]["modality_dropout"] = {"after": 0.1, "question": 0.2}
    found = {arm.name: arm.config for arm in arms_of(base, [], modalities=())}
    only = found["after only"]
    assert only is not None
    assert dict(only.inputs) == {"after": "image"}
    assert only.encoder_of("after").kind == "resnet"
    assert (only.data.columns, list(only.data.prepare)) == ({}, ["after"])
    assert only.data.unread == ("first", "sound", "question", "answer_type")
    assert (only.encoders.freeze, only.train.modality_dropout) == ((), {"after": 0.1})
    assert (only.evaluate.inputs, only.explain.players) == (("after",), None)
    nothing = found["no input"]
    assert nothing is not None
    assert dict(nothing.inputs) == {}
