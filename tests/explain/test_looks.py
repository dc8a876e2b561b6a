"""How inputs are told apart in pictures."""

from __future__ import annotations

from plait.explain.looks import lightened, looks, looks_of, shades
from plait.explain.result import Explanation


def test_inputs_of_one_modality_share_a_hue_and_differ_in_shade_and_dashes():
    found = looks({"before": "image", "after": "image", "third": "image", "voice": "audio"})
    assert found["before"] == looks({"image": "image"})["image"]
    assert [one.name for one in found.values()] == ["image", "image2", "image3", "audio"]
    assert len({one.colour for one in found.values()}) == 4
    assert [one.dashes for one in found.values()] == ["-", "--", ":", "-"]


def test_twelve_inputs_of_one_modality_look_different():
    found = looks({f"view{k}": "image" for k in range(12)})
    assert len(set(found.values())) == 12


def test_players_of_several_modalities_are_grey():
    found = Explanation(
        "test",
        "credit",
        1,
        0,
        0.95,
        ("before+voice", "after"),
        {},
        (),
        inputs={"before": "image", "voice": "audio", "after": "image"},
        players={"before+voice": ("before", "voice"), "after": ("after",)},
    )
    assert {name: one.name for name, one in looks_of(found).items()} == {"before+voice": "mixed", "after": "image"}


def test_an_explanation_of_before_has_the_colours_of_modalities():
    found = Explanation("test", "credit", 1, 0, 0.95, ("text", "audio"), {}, ())
    assert {name: one.name for name, one in looks_of(found).items()} == {"text": "text", "audio": "audio"}


def test_lightness_goes_to_white_and_to_black():
    assert (lightened("#204060", 1.0), lightened("#204060", -1.0), lightened("#204060", 0.0)) == (
        "#ffffff",
        "#000000",
        "#204060",
    )
    assert len(set(shades().values())) == len(shades())
