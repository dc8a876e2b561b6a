"""Who is credited: inputs, groups of them, and what is refused."""

from __future__ import annotations

import pytest

from plait.errors import UserError
from plait.evaluate.inputs import checked_inputs, set_name
from plait.explain.players import LONGEST, Players, groups_in, players_of

KINDS = {"before": "image", "after": "image", "voice": "audio"}
EIGHT = {**{f"view{k}": "image" for k in range(5)}, "voice": "audio", "noise": "audio", "question": "text"}


def test_up_to_five_inputs_are_players():
    found = players_of(tuple(KINDS), KINDS, None)
    assert found.names == ("before", "after", "voice")
    assert [player.modality for player in found.all] == ["image", "image", "audio"]
    assert found.subset_name(0b101) == "before+voice"
    assert found.subset_name(0) == "no_input"


def test_of_more_inputs_those_of_a_modality_are_one_player():
    found = players_of(tuple(EIGHT), EIGHT, None)
    assert [player.members for player in found.all] == [
        tuple(n for n in EIGHT if EIGHT[n] == m) for m in ("image", "audio", "text")
    ]
    assert found.members(0b010) == ("voice", "noise")
    assert players_of(tuple(EIGHT), EIGHT, None, sampled=True).names == tuple(EIGHT)


def test_many_inputs_of_one_modality_are_players_all_the_same():
    names = [f"view{k}" for k in range(8)]
    assert players_of(names, dict.fromkeys(names, "image"), None).names == tuple(names)


def test_groups_stand_in_the_order_of_their_first_inputs_and_the_rest_is_by_itself():
    found = players_of(tuple(KINDS), KINDS, [("voice", "before")])
    assert [(player.name, player.modality) for player in found.all] == [("before+voice", None), ("after", "image")]
    assert found.holds.tolist() == [[True, False, True], [False, True, False]]
    assert found.of("voice").name == "before+voice"


def test_long_names_are_shortened_and_said():
    names = [f"camera_number_{k}" for k in range(4)]
    found = players_of([*names, "x"], dict.fromkeys([*names, "x"], "image"), [names])
    assert len(found.names[0]) <= LONGEST
    assert found.notes == [f"{found.names[0]}: {', '.join(names)}"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([("before", "aftr")], r"no input 'aftr'.*Did you mean 'after'"),
        ([("before", "after"), "before"], "before is named twice"),
    ],
)
def test_what_cannot_be_a_player_is_refused(groups: list[str | tuple[str, ...]], message: str):
    with pytest.raises(UserError, match=message):
        players_of(tuple(KINDS), KINDS, groups)


def test_players_of_the_command_line():
    assert groups_in("before+after, voice") == (("before", "after"), ("voice",))
    for text in ("", "before+", ","):
        with pytest.raises(UserError, match="names no players"):
            groups_in(text)


def test_sets_of_inputs_have_names_of_their_own():
    """An input that is called as no input at all is told from it."""
    assert set_name(()) == "no_input"
    assert set_name(["no_input"]) != "no_input"
    assert set_name(["a", "b"]) == "a+b"


def test_inputs_that_a_run_has_come_in_its_order():
    assert checked_inputs(["voice", "before", "voice"], tuple(KINDS), where="--inputs") == ("before", "voice")
    assert checked_inputs(None, tuple(KINDS), where="--inputs") is None
    with pytest.raises(UserError, match=r"--inputs.*no input 'vioce'.*'voice'"):
        checked_inputs(["vioce"], tuple(KINDS), where="--inputs")
    with pytest.raises(UserError, match="It reads no inputs"):
        checked_inputs(["voice"], (), where="--inputs")


def test_each_is_the_players_of_single_inputs():
    assert Players.each(["a", "b"]).are_inputs
    assert not Players.grouped(["a", "b"], {}, [("a", "b")]).are_inputs
