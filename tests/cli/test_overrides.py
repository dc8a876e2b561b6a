"""What overrides on the command line may say, and numbers that fit no model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from cli_helpers import Shell

BIG = 10**30


def test_data_check_takes_overrides(shell: Shell, tiny_yaml: Path):
    """Previously, `plait data check run.yaml data.inputs=[image]` was a usage error, though every other command takes them."""
    whole = shell("data", "check", tiny_yaml, "--json").json
    fewer = shell("data", "check", tiny_yaml, "data.inputs=[image]", "data.segments=[answer]", "--json").json
    assert {"image", "audio", "text"} <= set(whole["subsets"])
    assert set(fewer["subsets"]) == {"image", "no inputs"}
    assert (whole["segments"], fewer["segments"]) == (["heard", "answer"], ["answer"])


def test_data_check_of_a_manifest_takes_overrides(shell: Shell, tiny_yaml: Path):
    manifest = yaml.safe_load(tiny_yaml.read_text(encoding="utf-8"))["data"]["manifest"]
    assert set(shell("data", "check", manifest, "data.inputs=[audio]", "--json").json["subsets"]) == {
        "audio",
        "no inputs",
    }
    refused = shell("data", "check", manifest, "data.inputz=[audio]")
    assert refused.code == 2
    assert "'inputs'" in refused.err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lm.num_heads=3", "width 16 is not a multiple of 3 heads. As num_heads any of [1, 2, 4, 8, 16] would do."),
        ("lm.num_heads=16", "lm.num_heads: 16 heads of a width of 16 have an odd width each"),
        ("fusion={kind: attention, num_heads: 5}", "width 16 is not a multiple of 5 heads"),
        ("fusion={kind: concat, num_heads: 5}", "width 16 is not a multiple of 5 heads"),
        (f"lm.layers={BIG}", "lm.layers: Input should be less than or equal to 1000"),
        (f"width={BIG}", "width: Input should be less than or equal to 65536"),
        (f"train.threads={BIG}", "train.threads: Input should be less than or equal to 4096"),
        ("train.warmup=.inf", "train.warmup: inf is neither a share of the steps (below 1) nor a whole number"),
        ("train.modality_dropout_warmup=.inf", "train.modality_dropout_warmup: inf is neither"),
    ],
)
def test_numbers_that_fit_no_model(shell: Shell, tiny_yaml: Path, tmp_path: Path, override: str, said: str):
    """Previously, each was a traceback, or (layers) a command that never ended."""
    done = shell("train", tiny_yaml, override, "--out", tmp_path / "run")
    assert done.code == 2, done
    assert said in done.err
    assert not (tmp_path / "run").exists()
