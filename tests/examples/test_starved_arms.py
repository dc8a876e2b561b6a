"""The example of a strong and a weak modality: its configuration and its arms fit the task that the laboratory makes."""

from __future__ import annotations

from pathlib import Path

import yaml

from plait.choices import kind_of
from plait.config import read_config
from plait.lab.truth import TASKS
from plait.losses import BALANCES

FOLDER = Path(__file__).parents[2] / "examples" / "starved"


def test_the_configuration_reads_the_task_of_the_laboratory():
    config = read_config(FOLDER / "run.yaml")
    assert Path(config.data.manifest) == FOLDER.parents[1] / "runs" / "lab" / "data" / "starved" / "manifest.jsonl"
    assert config.data.inputs == TASKS["starved"].modalities
    assert not config.sees_subsets  # plain joint training, or there is nothing to cure


def test_every_kind_of_balance_is_an_arm_and_no_two_are_alike():
    arms = yaml.safe_load((FOLDER / "arms.yaml").read_text(encoding="utf-8"))
    configs = [
        read_config(FOLDER / "run.yaml", [f"{key}={value}" for key, value in changes.items()])
        for changes in arms.values()
    ]
    assert {config.balance.kind_name for config in configs} == {kind_of(member) for member in BALANCES}
    assert len({config.model_dump_json() for config in configs}) == len(arms)
