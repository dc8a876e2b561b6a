"""MMPareto: each encoder follows a direction that is good for the loss with all inputs and for its own loss (Wei and Hu 2024).

In: for each encoder its gradient of the loss with all inputs, g, and of the loss with its modality alone, u.
Out: one gradient per encoder; fusion and language model get that of all losses, summed.
Invariant: both are sums over the whole step, so nothing depends on micro-batches. The result never raises either of the two losses
to first order, and is at least as long as `scale` × the sum of the two.

arXiv 2405.17730 and the authors' code (GeWu-Lab/MMPareto_ICML2024, MMPareto.py), for each encoder by itself:

    cos(g, u) > 0:   a = b = 1/2
    otherwise:       (a, b) = argmin ‖a g + b u‖, a + b = 1, a, b ≥ 0     (min-norm of two, Désidéri 2012, Sener and Koltun 2018)
    h = 2 (a g + b u);   h ← h · max(1, ‖g + u‖ / ‖h‖) · scale            (scale 1.5 in the code)

The direction of the min-norm point serves both where they conflict, but it is short; a short gradient has less noise, which
generalises worse: hence the length of the sum. What differs: the published code takes lengths per tensor, the paper's formula and
this file per encoder; and the loss with one modality goes through the same fusion and language model, not a head of its own.
Adam and Muon divide by the gradient's size, so of the length only its changes count there. It costs a pass through fusion and
language model per modality, a second backward pass, and two copies of the encoders' gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, distributed, nn

from plait.losses.balance import Balance, BalanceOptions, Encoding, Losses, WithAlone, norm, trained_encoders
from plait.losses.base import AloneKind

Gradients = dict[int, Tensor]
"""A parameter's place in its encoder → a gradient."""


class MMParetoConfig(BalanceOptions):
    """Combine each encoder's gradients of the joint loss and of its own; `weight` × its own loss, `scale` × the result."""

    kind: Literal["mmpareto"] = "mmpareto"
    weight: float = Field(default=1.0, gt=0, description="of the losses with one modality each")
    scale: float = Field(default=1.5, gt=0, description="of the combined gradients of encoders")
    advice: ClassVar[str] = "a weak modality whose own loss pulls elsewhere; a second backward pass"
    num_modalities: ClassVar[int] = 2
    trains_alone: ClassVar[bool] = True

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """See the module."""
        self.refuse_few(model)
        self.refuse_frozen(model)
        self.refuse_shared(model)
        return MMPareto(self, model, state=state)


class MMPareto(WithAlone):
    """See the module."""

    def __init__(self, config: MMParetoConfig, model: Encoding, *, state: Mapping[str, float] | None = None) -> None:
        super().__init__(state=state)
        self.config, self.encoders = config, trained_encoders(model)
        own = {id(p) for parameters in self.encoders.values() for p in parameters}
        self.others = [p for p in model.parameters() if p.requires_grad and id(p) not in own]
        self.joint: dict[str, Gradients] = {}
        self.own: dict[str, Gradients] = {}
        self.cosines: dict[str, float] = {}

    def begin(self, step: int) -> None:
        """Nothing is summed."""
        super().begin(step)
        self.joint, self.own = ({m: {} for m in self.encoders} for _ in range(2))

    def wants(self) -> AloneKind | None:
        """The losses, for a backward pass of their own."""
        return "apart"

    def backward(self, found: Losses, weight: Float[Tensor, ""]) -> None:
        """Two backward passes; the encoders' gradients of each are put aside."""
        ((found.total + found.auxiliary) / weight).backward(retain_graph=bool(found.alone))
        for modality, parameters in self.encoders.items():
            put_aside(self.joint[modality], [parameter.grad for parameter in parameters])
            for parameter in parameters:
                parameter.grad = None
        if found.alone:
            total = torch.stack([one.total for one in found.alone.values()]).sum()
            self.backward_alone(self.config.weight * total / weight)

    def backward_alone(self, loss: Float[Tensor, ""]) -> None:
        """The second pass. With one modality alone only its encoder has a gradient.

        What is wrapped around a model expects one backward pass for each call, so this one leaves its gradients to us.
        """
        groups = [*self.encoders.values(), self.others]
        gradients = torch.autograd.grad(loss, [p for group in groups for p in group], allow_unused=True)
        rest = iter(averaged(gradients, [p for group in groups for p in group]))
        for modality, parameters in self.encoders.items():
            put_aside(self.own[modality], [next(rest) for _ in parameters])
        for parameter, gradient in zip(self.others, rest, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    @torch.no_grad()
    def finish(self, step: int) -> None:
        """One gradient per encoder; where a step has nothing of a modality alone, that of the loss with all inputs."""
        self.cosines = {}
        for modality, parameters in self.encoders.items():
            joint, own = filled(self.joint[modality], parameters), filled(self.own[modality], parameters)
            if self.own[modality]:
                combined, self.cosines[modality] = combine(joint, own, scale=self.config.scale)
            else:
                combined = joint
            for place, parameter in enumerate(parameters):
                if place in self.joint[modality] or place in self.own[modality]:
                    parameter.grad = combined[place]
        self.joint, self.own = {}, {}

    @property
    def figures(self) -> dict[str, Any]:
        """The cosine of the two gradients of each encoder in the last step."""
        return {"cosine": dict(self.cosines)} if self.cosines else {}


def put_aside(into: Gradients, gradients: Sequence[Tensor | None]) -> None:
    """Add an encoder's gradients to those of earlier micro-batches."""
    for place, gradient in enumerate(gradients):
        if gradient is not None:
            into[place] = gradient if place not in into else into[place] + gradient


def averaged(gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """The gradients; of several processes their mean, None where no process has one."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return list(gradients)
    has = torch.tensor([gradient is not None for gradient in gradients], dtype=torch.int32, device=parameters[0].device)
    distributed.all_reduce(has)
    found: list[Tensor | None] = []
    for parameter, gradient, number in zip(parameters, gradients, has.tolist(), strict=True):
        whole = None
        if number:
            whole = torch.zeros_like(parameter) if gradient is None else gradient.contiguous()
            distributed.all_reduce(whole)
            whole /= distributed.get_world_size()
        found.append(whole)
    return found


def filled(found: Gradients, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """A gradient for every parameter, 0 where there is none."""
    return [found[place] if place in found else torch.zeros_like(p) for place, p in enumerate(parameters)]


def combine(joint: Sequence[Tensor], own: Sequence[Tensor], *, scale: float) -> tuple[list[Tensor], float]:
    """The combined gradient, and the cosine of the two."""
    long, short, dot = (
        norm(joint) ** 2,
        norm(own) ** 2,
        float(sum((g * u).sum() for g, u in zip(joint, own, strict=True))),
    )
    cosine = dot / (long * short) ** 0.5 if long > 0 and short > 0 else 0.0
    share = 0.5 if dot > 0 else min_norm(long, dot, short)
    mixed = [2 * share * g + 2 * (1 - share) * u for g, u in zip(joint, own, strict=True)]
    wanted, length = norm([g + u for g, u in zip(joint, own, strict=True)]), norm(mixed)
    factor = scale * (max(1.0, wanted / length) if length > 0 else 1.0)
    return [factor * value for value in mixed], cosine


def min_norm(first: float, dot: float, second: float) -> float:
    """a in [0, 1] with the shortest a x + (1 − a) y, given ‖x‖², x·y and ‖y‖²."""
    if dot >= first:
        return 1.0
    if dot >= second:
        return 0.0
    return (second - dot) / (first + second - 2 * dot)
