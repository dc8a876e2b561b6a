"""What a comparison will be able to see, before it starts: by the procedure itself, and against tables that were drawn."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_helpers import ARMS

from plait.compare.arms import Arm
from plait.compare.compared import Settings
from plait.compare.planned import SEED_SDS, Planned, forecast, foreseen, seeds_for
from plait.compare.statistics.calibrate import calibrate
from plait.compare.statistics.simulate import Effects, Population
from plait.errors import UserError
from plait.types import Sample


def planned(num_arms: int = 6, num: int = 1500, groups: int | None = None) -> Planned:
    index = np.arange(num) if groups is None else np.arange(num) % groups
    return Planned(num_arms, num, {"sample" if groups is None else "speaker": index})


def test_it_is_what_drawn_tables_of_such_models_show() -> None:
    """Tables whose models disagree on 10 % of the samples, 88 % right, one arm raised: within 15 %."""
    right = (np.random.default_rng(0).random(600) < 0.88).astype(float)
    some = Population(right, {"sample": np.arange(600)})
    found = calibrate(
        some, Effects(seed_sd=1.0, disagreement=0.1, group_share=0.0), num_arms=3, num_seeds=4, num_tables=200
    )
    assert planned(3, 600).sees(4, 1.0) == pytest.approx(100 * found.detectable, rel=0.15)


def test_it_follows_arms_seeds_samples_and_effective_groups() -> None:
    base = planned().sees(5, 1.0)
    assert planned(2).sees(5, 1.0) < base < planned(12).sees(5, 1.0)
    assert planned().sees(10, 1.0) < base < planned().sees(3, 1.0)
    assert planned(num=6000).sees(5, 1.0) < base < planned(groups=8).sees(5, 1.0)
    uneven = np.repeat(np.arange(30), [600, 500, *[14] * 28])
    skewed = Planned(6, len(uneven), {"speaker": uneven})
    assert skewed.sees(5, 1.0) > 2 * planned(groups=30).sees(5, 1.0)
    assert skewed.described(5).endswith("1,492 samples of 30 speakers (which count as 4)")


def test_the_forecast_says_three_answers_and_is_quick() -> None:
    some = planned(8)
    began = time.process_time()
    told = forecast(some, 5, percent=True)
    number, chosen = seeds_for(some, 3.0, percent=True)
    assert time.process_time() - began < 4  # 1.4 s without annotations checked
    leads = [f"{some.sees(5, sd):.1f}" for sd in SEED_SDS]
    assert f"leads over {leads[0]}, {leads[1]} and {leads[2]} points" in told
    assert "8 arms, 5 seeds, 1,500 samples" in told
    assert f"{number} seeds are taken, for 1 point" in chosen
    assert some.sees(number, 1.0) <= 3.05
    assert some.sees(number - 1, 1.0) > 2.95
    assert "times the standard deviation of an arm's score" in forecast(some, 5, percent=False)
    assert "one seed tells these trained models apart" in forecast(some, 1, percent=True)


def test_where_no_seeds_do_it_says_what_samples_would() -> None:
    with pytest.raises(
        UserError, match=r"takes more than 100 seeds on these 60 samples; .* seeds on [\d,]+ samples would do"
    ):
        seeds_for(planned(3, 60), 2.0, percent=True)
    with pytest.raises(UserError, match="--power: how much samples vary is not known beforehand"):
        seeds_for(planned(), 2.0, percent=False)


def test_power_takes_the_place_of_the_seeds() -> None:
    samples = [Sample(f"s{i}", "test", text="a", references=({"answer": "b"},)) for i in range(800)]
    arms = [Arm(name, (), "candidate", None) for name in ("a", "b")] + [Arm("no input", (), "no input", None)]
    wanted, said = Settings(Path("x"), (3,), metric="accuracy", power=4.0), []
    found = foreseen(wanted, arms, samples, said.append)
    number = Planned.of(samples, 2).needs(4.0, 1.0).seeds
    assert found == replace(wanted, seeds=tuple(range(3, 3 + number)))
    assert len(said) == 2
    assert f"2 arms, {number} seeds, 800 samples" in said[1]
    assert foreseen(replace(wanted, power=None), arms, samples, said.append).seeds == (3,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run.yaml", "--power", "2", "--seeds", "5"), "--power beside --seeds: both say how many seeds"),
        (("run.yaml", "--power", "0"), "--power: 0 is no lead"),
        (("run.yaml", "--worth", "-1"), "--worth: -1 is no lead"),
        (("--from", "a", "b", "--power", "2"), "--from beside --power: these runs are trained already"),
    ],
)
def test_leads_that_make_no_sense_are_refused(words: tuple[str, ...], message: str, shell: Any) -> None:
    code, _, err = shell("compare", *words)
    assert code == 2
    assert message in err


def test_the_command_says_what_it_will_see_and_then_what_it_could(
    compared: Path, config: Path, tmp_path: Path, shell: Any
) -> None:
    """A comparison that is trained already: the same words with another lead that matters."""
    own = Path(shutil.copytree(compared, tmp_path / "compared"))
    code, out, err = shell("compare", config, "--folder", own, *ARMS, "--worth", "60", "--json")
    assert code == 0, err
    found = json.loads(out)["decision"]
    assert "what this can see (2 arms, 2 seeds, " in err
    assert found["worth"] == pytest.approx(0.6)
    if found["detectable"] is None:  # untrained models that all say the same
        assert "no two arms differ on any of 8 samples" in found["sentence"]
    elif found["kind"] == "too little to tell":
        assert found["detectable"] > 0.6
    else:
        assert "would have been seen" in found["sentence"] or found["kind"] == "winner"
