"""What is said to have been equal was equal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plait.compare.arms import arms_of
from plait.compare.collect import Collected
from plait.compare.compared import Compared, Settings
from plait.compare.drive import Outcome, Task
from plait.compare.run import fixed
from plait.compare.terms import answers, rates, samples
from plait.config import make_config
from plait.data.manifest import Dataset
from plait.train.fit import read_data
from plait.types import Modality
from tiny_data import make_manifest, tiny_tree


def tell(tasks: Sequence[Task]) -> dict[str, Outcome]:
    """The tasks, here and now."""
    return {task.name: Outcome(task.function(lambda news: None, **task.arguments)) for task in tasks}


def found_of(
    manifest: Path, words: list[str], states: Sequence[dict[str, Any]] = ()
) -> tuple[Collected, list[Compared]]:
    """A comparison of these arms as after its trainings; `states`: of each run's checkpoint."""
    tree = tiny_tree(manifest)
    base = make_config(tree)
    dataset: Dataset = read_data(base)
    done = []
    for number, arm in enumerate(arms_of(tree, words, modalities=tuple(Modality), baselines=False)):
        assert arm.config is not None
        one = Compared(arm, fixed(arm.config, dataset))
        folder = manifest.parent / f"run{number}"
        if number < len(states):
            (folder / "training" / "step-00000002").mkdir(parents=True)
            (folder / "training" / "step-00000002" / "state.json").write_text(
                json.dumps(states[number]), encoding="utf-8"
            )
        one.folders, one.facts = {0: folder}, {0: {}}
        done.append(one)
    return Collected(Settings(manifest.parent, (0,)), fixed(base, dataset), dataset, done, ()), done


@pytest.mark.parametrize(
    ("words", "equal", "detail"),
    [
        (["fusion.kind=concat,sum"], True, "in the same batches at each seed, in all arms"),
        (["balance.kind=none,unimodal"], True, "in the same batches at each seed, in all arms"),
        (["arms.yaml"], False, "samples drawn with other chances in drawn"),
    ],
)
def test_the_order_of_samples_is_that_of_the_balance_too(words: list[str], equal: bool, detail: str, tmp_path: Path):
    """Previously temperature sampling was said to take the same samples in the same batches."""
    sampling = "{balance: {kind: temperature_sampling, segment: answer, temperature: 100}}"
    (tmp_path / "arms.yaml").write_text(
        f"as it is: {{}}\nsum: {{fusion.kind: sum}}\ndrawn: {sampling}\n", encoding="utf-8"
    )
    words = [str(tmp_path / word) if word.endswith("yaml") else word for word in words]
    found, done = found_of(make_manifest(tmp_path, 48), words)
    term = samples(found, done, tell)
    assert term.equal == equal
    assert detail in term.detail


def test_training_samples_that_changed_between_two_sittings_are_said(tmp_path: Path):
    """Previously the batches were planned from today's manifest alone, and the arms were said to have had the same."""
    states = [{"data": "a"}, {"data": "a"}, {"data": "b"}]
    found, done = found_of(make_manifest(tmp_path, 48), ["fusion.kind=concat,product,sum"], states)
    term = samples(found, done, tell)
    assert (term.equal, "others than in most in sum at seed 0" in term.detail) == (False, True)


def test_another_way_of_choosing_answers_is_said(tmp_path: Path):
    """Previously runs of --from that answer greedily and by beam search were compared without a word."""
    _, done = found_of(make_manifest(tmp_path, 48), ["generate.method=greedy,beam"])
    assert (answers(done).equal, answers(done).detail) == (False, "the runs differ in generate.method")
    assert answers(done[:1]).equal


def test_arms_with_rates_of_their_own_are_not_said_to_have_one(tmp_path: Path):
    """Previously: "the configuration's 0.001 for every arm"."""
    found, done = found_of(make_manifest(tmp_path, 48), ["train.learning_rate=0.01,0.02"])
    term = rates(found, done)
    assert (term.equal, term.detail) == (False, "the arms' own, 0.01 to 0.02, no trials")
