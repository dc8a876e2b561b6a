"""The configuration of an evaluation: names checked at once, defaults that fit the references."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from plait.config.evaluate import METRIC_NAMES as CONFIGURED_NAMES
from plait.config.evaluate import EvaluateConfig
from plait.errors import UserError
from plait.evaluate.choice import default_metrics, metrics_for
from plait.evaluate.metrics import LOSS_NAMES, METRIC_NAMES
from plait.types import Sample


def sample(target: dict[str, str], *more: dict[str, str], text: str | None = None, audio: bool = False) -> Sample:
    return Sample("a", "test", text=text, audio=Path("a.wav") if audio else None, references=(target, *more))


def test_unknown_metric_names_the_key_and_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"unknown metric 'wre' of heard. Did you mean 'wer'\?"):
        EvaluateConfig(metrics={"heard": ("wre",)})


def test_one_name_needs_no_list() -> None:
    config = EvaluateConfig.model_validate({"metrics": {"heard": "wer", "answer": ["accuracy"]}})
    assert config.metrics == {"heard": ("wer",), "answer": ("accuracy",)}


def test_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="resamples"):
        EvaluateConfig.model_validate({"resamples": 10})


def test_unknown_segment_names_the_nearest() -> None:
    config = EvaluateConfig(metrics={"anwser": ("accuracy",)})
    with pytest.raises(UserError, match=r"no segment 'anwser' in the targets\. Did you mean 'answer'"):
        metrics_for(config, [sample({"answer": "yes"})], ["answer"])


@pytest.mark.parametrize(
    ("samples", "segment", "names"),
    [
        ([sample({"answer": "light blue"}, text="q")], "answer", ("accuracy",)),
        ([sample({"heard": "red"}, text="q")], "heard", ("wer", "cer")),
        ([sample({"target": "a b c d e"}, audio=True)], "target", ("wer", "cer")),
        ([sample({"target": "我喜欢你的猫"}, audio=True)], "target", ("cer",)),
        (
            [sample({"target": "a b c d e"}, {"target": "e d c b a"}, audio=True)],
            "target",
            ("bleu", "chrf", "rouge_l", "cider_d"),
        ),
        ([sample({"caption": "a dog runs by the sea"}, text="q")], "caption", ("bleu", "chrf", "rouge_l", "cider_d")),
        ([sample({"target": "next words only here"})], "target", ()),
    ],
)
def test_default_metrics_fit_the_references(samples: list[Sample], segment: str, names: tuple[str, ...]) -> None:
    assert default_metrics(segment, samples) == names


def test_named_segments_keep_their_metrics_and_others_get_theirs() -> None:
    samples = [sample({"heard": "what is it", "answer": "red"}, text="q")]
    config = EvaluateConfig(metrics={"heard": ("cer",)})
    assert metrics_for(config, samples, ["heard", "answer"]) == {"heard": ("cer",), "answer": ("accuracy",)}


def test_the_names_of_the_configuration_are_those_of_the_registry():
    assert (*METRIC_NAMES, *LOSS_NAMES) == CONFIGURED_NAMES
