"""The optimisers, and their state as plain tensors: AdamW, and Muon for the matrices with AdamW for the rest.

In: a model.
Out: an optimiser with a group for each kind of parameter, and its state as `{parameter name.slot: tensor}` for a safetensors file.
Invariant: saving and loading the state and going on gives the same bits as going on without it. Norms, biases and
embeddings are not decayed. A part with a learning rate of its own has groups of its own, and rises and falls as the others do.

AdamW: Loshchilov and Hutter, arXiv 1711.05101; the fused form was measured against foreach and the plain loop (160 tensors,
1.0M parameters, one CPU thread): 2.2, 7.3 and 8.8 ms a step; it gives the same bits in every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from plait.config import TrainConfig
from plait.embeddings import Embedding
from plait.errors import UserError
from plait.layers import OutputHead
from plait.named import as_named_now
from plait.parts import rates_of

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic of Jordan et al.: every singular value comes to between 0.7 and 1.2 in five rounds."""
NEWTON_SCHULZ_ROUNDS = 5
MOMENTUM = 0.95
RMS = 0.2
"""The root mean square of AdamW's usual update, to which Muon's is scaled (arXiv 2502.16982): one learning rate does for both."""


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


def matrices(model: nn.Module) -> list[str]:
    """The names of the trained weights of linear layers and convolutions, output heads left out: what Muon updates."""
    kinds = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    weights = {id(m.weight) for m in model.modules() if isinstance(m, kinds) and not isinstance(m, OutputHead)}
    others = {id(p) for m in model.modules() if not isinstance(m, kinds) for p in m.parameters(recurse=False)}
    others |= {id(m.weight) for m in model.modules() if isinstance(m, OutputHead)}
    return [n for n, p in model.named_parameters() if p.requires_grad and id(p) in weights and id(p) not in others]


def build_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """The optimiser of a configuration; its learning rate is set by the loop at every step."""
    parameters = dict(model.named_parameters())
    yes, no = decayed(model)
    if not yes and not no:
        raise UserError("the model has no parameter to train", right="Unfreeze at least one part.")
    turned = matrices(model) if config.optimiser == "muon" else []
    groups = [
        {"params": [parameters[n] for n in turned], "weight_decay": config.weight_decay, "orthogonal": True},
        {"params": [parameters[n] for n in yes if n not in set(turned)], "weight_decay": config.weight_decay},
        {"params": [parameters[n] for n in no], "weight_decay": 0.0},
    ]
    groups = [group for group in by_rate(groups, rates_of(model, config.parts), config) if group["params"]]
    kind = Muon if config.optimiser == "muon" else torch.optim.AdamW
    return kind(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def by_rate(groups: list[dict[str, Any]], rates: Mapping[int, float], config: TrainConfig) -> list[dict[str, Any]]:
    """The groups, each cut by learning rate: the run's first, then those that parts state; `scale` is how many of the run's."""
    found: list[dict[str, Any]] = []
    for rate in (None, *dict.fromkeys(rates.values())):
        scale = {} if rate is None else {"scale": rate / config.learning_rate}
        for group in groups:
            own = [p for p in group["params"] if rates.get(id(p)) == rate]
            found.append({**group, "params": own, **scale})
    return found


class Muon(torch.optim.AdamW):
    """AdamW, except that groups marked `orthogonal` take Nesterov momentum made orthogonal (Muon: Jordan et al. 2024).

    `W ← (1 − lr·decay) W − lr · 0.2 √max(m, n) · orthogonal(momentum)` for a matrix `(m, n)`; the kernels of a convolution are one
    matrix, a row per output channel. Matrices of one shape are made orthogonal together.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        groups = self.param_groups
        for group in groups:
            if group.get("orthogonal"):
                self.turn(group["params"], rate=group["lr"], decay=group["weight_decay"])
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def turn(self, parameters: Iterable[Tensor], *, rate: float, decay: float) -> None:
        """The update of matrices."""
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for parameter in parameters:
            if parameter.grad is None:
                continue
            gradient = parameter.grad.flatten(1)
            state = self.state[parameter]
            if "momentum" not in state:
                state.update(step=torch.zeros((), device=gradient.device), momentum=torch.zeros_like(gradient))
            state["step"] += 1
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            by_shape.setdefault((gradient.shape[0], gradient.shape[1]), []).append(
                (parameter, gradient.lerp(momentum, MOMENTUM))
            )
        for shape, found in by_shape.items():
            updates = orthogonal(torch.stack([update for _, update in found]))
            for (parameter, _), update in zip(found, updates, strict=True):
                parameter.mul_(1 - rate * decay)
                parameter.add_(update.view_as(parameter), alpha=-rate * RMS * max(shape) ** 0.5)


def orthogonal(values: Float[Tensor, "K m n"]) -> Float[Tensor, "K m n"]:
    """Each matrix with its singular values brought near 1, by Newton-Schulz rounds; bf16 on GPUs, where it is quick and enough."""
    first, third, fifth = NEWTON_SCHULZ
    tall = values.shape[1] > values.shape[2]
    turned = values.transpose(1, 2) if tall else values
    turned = turned / (turned.norm(dim=(1, 2), keepdim=True) + 1e-7)
    turned = turned.bfloat16() if values.is_cuda else turned
    for _ in range(NEWTON_SCHULZ_ROUNDS):
        gram = turned @ turned.transpose(1, 2)
        turned = torch.baddbmm(turned, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), turned, beta=first)
    turned = turned.to(values.dtype)
    return turned.transpose(1, 2) if tall else turned


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The run's rate of the next update, and that of every part with a rate of its own in proportion."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"] if "scale" in group else rate


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state: one tensor per parameter and slot (`step`, `exp_avg`, `exp_avg_sq`; `momentum`)."""
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
    for key, tensor in as_named_now(model, tensors, slots=True).items():
        name, _, slot = key.rpartition(".")
        if name not in numbers:
            raise UserError(f"the saved optimiser has a state for {name!r}, which the model does not train")
        state.setdefault(numbers[name], {})[slot] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
