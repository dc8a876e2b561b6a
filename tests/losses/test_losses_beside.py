"""What every loss beside the language model's is: stated in one place, built by itself, found under its old names."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import nn

from plait.build import build_model
from plait.config import make_config
from plait.errors import UserError
from plait.losses import LOSSES, Ask, BalanceOptions, Beside, CTCConfig, Given, LossOptions
from plait.losses.ctc import CTC
from tiny_model import ENCODERS, READ, long_sound, make_batch, make_model, make_tokenizer

OLD_NAMES = """
from plait.balance import BALANCES, Balance, BalanceConfig, BalanceOptions, Losses, measure_alone
from plait.balance.base import Balance as Same, BalanceOptions, WithAlone, trained_encoders
from plait.balance.mmpareto import combine
import plait.balance.targeted_augmentation
from plait.ctc import CTC
from plait.links import TARGET, Links, contrast
import plait.losses.balance, plait.losses.links
assert Same is Balance is plait.losses.balance.Balance and Links is plait.losses.links.Links
"""


def test_the_old_names_are_the_same_classes():
    """Given of one's own that were written for `plait.balance` go on working, whatever is imported first."""
    done = subprocess.run([sys.executable, "-c", OLD_NAMES], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_kind_says_where_it_is_stated_and_what_its_part_is_called():
    assert {kind.stated_as for kind in LOSSES} == {"train.ctc", "train.alignment", "balance"}
    config = make_config(
        {
            "data": {"manifest": "m"},
            "train": {"ctc": {"segment": "heard"}, "alignment": {}},
            "balance": {"kind": "unimodal"},
        }
    )
    assert [options.kept_as for options in config.losses] == ["ctc", "links", "balance"]
    assert all(isinstance(options, LossOptions) for options in config.losses)
    assert [options.kept_as for options in make_config({"data": {"manifest": "m"}}).losses] == ["balance"]


def test_parts_have_the_names_and_the_order_of_before():
    """Weights of older runs are filled by these names, and the order of parameters decides the last bits of a gradient's norm."""
    model = make_model(make_tokenizer(), train={"ctc": {"segment": "heard"}, "alignment": {}})
    tops = list(dict.fromkeys(name.partition(".")[0] for name, _ in model.named_parameters()))
    assert tops == ["encoders", "fusion", "lm", "ctc", "links"]
    assert make_model(make_tokenizer()).links is None


# --- CTC of any input ----------------------------------------------------------------------------------------------------


def parts(**modalities: str) -> Given:
    """A model with these inputs."""
    return Given(modalities, dict.fromkeys(modalities, 16), make_tokenizer(), 16, 16)


def ctc(**options: Any) -> CTCConfig:
    return CTCConfig(segment="heard", **options)


def test_ctc_hears_the_only_sound_whatever_it_is_called():
    """Previously it asked for an input called `audio`."""
    assert ctc().beside(parts(photo="image", voice="audio", question="text")).input == "voice"
    assert ctc(input="lips").beside(parts(voice="audio", lips="video")).input == "lips"


@torch.no_grad()
def test_ctc_reads_the_features_of_its_input_and_of_no_other():
    loss, tokenizer = ctc(input="two").beside(parts(one="audio", two="audio")), make_tokenizer()
    batch, model = long_sound(make_batch(tokenizer)), make_model(tokenizer)
    sound = model.encode(batch.inputs, len(batch))["audio"]
    other = type(sound)(torch.randn_like(sound.values), sound.mask)
    found = loss({"one": other, "two": sound}, batch, model.lm.embedding)
    assert isinstance(loss, CTC)
    assert float(found) > 0
    assert torch.equal(found, loss.loss(sound, batch))
    assert not torch.equal(found, loss({"one": sound, "two": other}, batch, model.lm.embedding))


@pytest.mark.parametrize(
    ("options", "modalities", "message"),
    [
        ({}, {"photo": "image"}, r"train\.ctc: there is no audio for the CTC loss"),
        (
            {},
            {"voice": "audio", "noise": "audio"},
            r"train\.ctc: the run hears voice, noise: .*'heard' was spoken in one of them\. Say which: train\.ctc\.input=voice",
        ),
        ({"input": "vioce"}, {"voice": "audio"}, r"train\.ctc\.input: the run reads no vioce\. Did you mean 'voice'"),
    ],
)
def test_ctc_without_a_sound_or_with_several_is_one_message(options: dict, modalities: dict, message: str):
    with pytest.raises(UserError, match=message):
        ctc(**options).beside(parts(**modalities))


# --- one's own -----------------------------------------------------------------------------------------------------------


class Shrinking(Beside):
    """Half the mean square of every feature, times a number that is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, features: Any, batch: Any, embedding: Any) -> torch.Tensor:
        return self.scale * sum(f.values.square().sum() for f in features.values())


class ShrinkingConfig(BalanceOptions):
    """A kind with a part in the model."""

    kind: Literal["test_losses_beside:ShrinkingConfig"] = "test_losses_beside:ShrinkingConfig"
    num_modalities: ClassVar[int] = 0

    def beside(self, given: Given) -> Beside:
        assert list(given.widths) == list(READ)
        return Shrinking()


def test_a_kind_of_ones_own_may_have_a_part_in_the_model():
    tree = {"data": {"manifest": "m"}, "width": 16, "encoders": ENCODERS, "lm": {"num_heads": 2}}
    config = make_config(tree).model_copy(update={"balance": ShrinkingConfig()})
    model = build_model(config, make_tokenizer(), READ).model.eval()
    assert "balance.scale" in dict(model.named_parameters())
    batch = make_batch(make_tokenizer())
    sums = model(batch, Ask()).sums
    with torch.no_grad():
        features = model.encode(batch.inputs, len(batch))
    expected = 0.5 * sum(float(f.values.square().sum()) for f in features.values())
    assert float(sums.auxiliary.detach()) == pytest.approx(expected, rel=1e-5)
    sums.auxiliary.backward()
    assert float(dict(model.named_parameters())["balance.scale"].grad) == pytest.approx(2 * expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["ogm_ge", "mmpareto"])
def test_kinds_that_change_encoders_refuse_one_that_two_inputs_share(kind: str):
    class Two(nn.Module):
        inputs = ("before", "after")

        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Linear(2, 2)

        def encoder(self, modality: str) -> nn.Module:
            return self.both

    balance = make_config({"data": {"manifest": "m"}, "balance": {"kind": kind}}).balance
    with pytest.raises(UserError, match=f"{kind} changes the gradient of each encoder, and before and after share one"):
        balance.build(Two(), steps=3, seed=0)
