"""Names of inputs are no attributes of a module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plait.named import ByName, as_named_now, name_before, pair_of

HARD = ("type", "values", "float", "train", "keys", "forward", "parameters", "before", "图")


def test_an_input_may_be_called_as_what_a_module_has():
    """Previously `nn.ModuleDict` refused `type`, and a `nn.ParameterDict` lost its method `values`."""
    members = ByName({name: nn.Linear(2, 2) for name in HARD})
    assert tuple(members) == HARD == members.keys()
    assert members.train() is members
    assert len(list(members.parameters())) == 2 * len(HARD)
    for name, member in members.items():
        assert members.get_submodule(f"input_{name}") is member is members[name]
    values = ByName({name: nn.Parameter(torch.ones(1)) for name in HARD})
    assert set(values.state_dict()) == {f"input_{name}" for name in HARD}
    assert "other" not in values
    with pytest.raises(KeyError):
        values["other"]


def test_tensors_are_found_under_the_names_of_before():
    model = nn.ModuleDict(
        {
            "encoders": ByName({"image": nn.Linear(2, 2)}),
            "pairs": ByName({pair_of("text", "image"): nn.ModuleList([nn.Linear(2, 2)])}),
            "input_own": nn.Linear(2, 2),
        }
    )
    now = model.state_dict()
    assert name_before(model, "encoders.input_image.weight") == "encoders.image.weight"
    assert name_before(model, "pairs.input_text__image.0.bias") == "pairs.text_image.0.bias"
    assert name_before(model, "input_own.bias") == "input_own.bias"
    assert as_named_now(model, {name_before(model, name): tensor for name, tensor in now.items()}).keys() == now.keys()
    assert as_named_now(model, now).keys() == now.keys()
    slots = as_named_now(model, {"encoders.image.weight.exp_avg": torch.ones(1)}, slots=True)
    assert list(slots) == ["encoders.input_image.weight.exp_avg"]
