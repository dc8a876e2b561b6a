"""AdamW over a model's parameters, and its state as plain tensors.

In: a model.
Out: a fused AdamW with two groups (decayed or not), and its state as `{parameter name.slot: tensor}` for a safetensors file.
Invariant: saving and loading the state and going on gives the same bits as going on without it. Norms, biases and
embeddings are not decayed.

Fused was measured against foreach and the plain loop (160 tensors, 1.0M parameters, one CPU thread): 2.2, 7.3 and 8.8 ms a
step; it gives the same bits in every run.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from plait.config import TrainConfig
from plait.embeddings import Embedding
from plait.errors import UserError


def decayed(model: nn.Module) -> tuple[list[str], list[str]]:
    """The names of the trained parameters that are decayed, and of those that are not."""
    embeddings = {
        id(p) for m in model.modules() if isinstance(m, Embedding | nn.Embedding) for p in m.parameters(recurse=False)
    }
    yes, no = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (no if parameter.ndim < 2 or id(parameter) in embeddings else yes).append(name)
    return yes, no


def build_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """A fused AdamW; its learning rate is set by the loop at every step."""
    parameters = dict(model.named_parameters())
    yes, no = decayed(model)
    if not yes and not no:
        raise UserError("the model has no parameter to train", right="Unfreeze at least one part.")
    groups = [
        {"params": [parameters[name] for name in yes], "weight_decay": config.weight_decay},
        {"params": [parameters[name] for name in no], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next update, for all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state: one tensor per parameter and slot (`step`, `exp_avg`, `exp_avg_sq`)."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{names[id(parameter)]}.{slot}": value.detach()
        for parameter, slots in optimiser.state.items()
        for slot, value in slots.items()
    }


def load_optimiser(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Shaped[Tensor, "..."]]
) -> None:
    """Put a saved state back."""
    names = {id(p): name for name, p in model.named_parameters()}
    order = [names[id(p)] for group in optimiser.param_groups for p in group["params"]]
    numbers = {name: number for number, name in enumerate(order)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition(".")
        if name not in numbers:
            raise UserError(f"the saved optimiser has a state for {name!r}, which the model does not train")
        state.setdefault(numbers[name], {})[slot] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
