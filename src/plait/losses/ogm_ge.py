"""OGM-GE: the encoder of the modality that is ahead learns more slowly, with noise in all encoders' gradients (Peng et al. 2022).

In: the gradients of a step, and how likely the targets are with each modality alone.
Out: the gradients of encoders times k_m, plus noise.
Invariant: scores are sums over the whole step, so they do not depend on micro-batches; the noise follows from the seed, the step
and the parameter's name. Fusion and language model are left alone; with `alpha` 0 and `noise` 0 nothing changes, bit for bit.

arXiv 2203.15332, equation 10, and the authors' code (GeWu-Lab/OGM-GE_CVPR2022, main.py):

    k_m = 1 − tanh(α ρ_m) if ρ_m > 1, otherwise 1        gradient_m ← k_m · gradient_m + N(0, std(gradient_m)²)

There are two modalities and classes there, ρ_v = Σ p_v(class) / Σ p_a(class), with p_v from the part of the last layer that reads
v. Here, for M modalities and any fusion:

    s_m = Σ w_t p(target_t | only m) / Σ w_t  over the target tokens t of the samples that have m     ρ_m = s_m / mean_{n ≠ m} s_n

which for M = 2 is the original ratio. What differs: the whole encoder is scaled and not its kernels alone; noise goes to its
matrices and kernels, not to word vectors (a word that is not in the batch has no gradient, and Adam would make a whole step of
the noise) nor to norms and biases. As there, it stops after half of the training (`until`).

Adam and Muon divide by the gradient's own size, so a constant factor is lost in them and only its changes are felt; it was
invented for SGD. The model should have seen inputs missing (`train.modality_subsets`), or its scores with one modality are
those of a model that is lost. It costs a pass without gradients per modality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from plait.embeddings import Embedding
from plait.losses.alone import added
from plait.losses.balance import Balance, BalanceOptions, Encoding, WithAlone, trained_encoders
from plait.losses.base import Alone, AloneKind
from plait.seeds import torch_generator


class OGMGEConfig(BalanceOptions):
    """Scale the gradient of the encoder that is ahead by `1 − tanh(alpha × ratio)`."""

    kind: Literal["ogm_ge"] = "ogm_ge"
    alpha: float = Field(default=0.5, ge=0, description="how much the one ahead is slowed down")
    noise: float = Field(default=1.0, ge=0, description="standard deviation of the noise, in those of the gradient")
    until: float = Field(default=0.5, gt=0, le=1, description="share of the steps after which it stops")
    advice: ClassVar[str] = "invented for SGD; a pass without gradients per modality"
    num_modalities: ClassVar[int] = 2

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """See the module."""
        self.refuse_few(model)
        self.refuse_frozen(model)
        self.refuse_shared(model)
        return OGMGE(self, model, steps=steps, seed=seed, state=state)


class OGMGE(WithAlone):
    """See the module."""

    def __init__(
        self, config: OGMGEConfig, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(state=state)
        self.config, self.model, self.seed = config, model, seed
        self.last_step = config.until * steps
        self.is_on = True
        self.scales: dict[str, float] = {}

    def knows_alone(self, step: int) -> bool:
        """While it is on."""
        return step <= self.last_step

    def begin(self, step: int) -> None:
        """Whether this step is one of those."""
        super().begin(step)
        self.is_on, self.scales = self.knows_alone(step), {}

    def wants(self) -> AloneKind | None:
        """Scores only, while it is on: no gradient, and no draw that would change the training."""
        return "scores" if self.is_on else None

    @torch.no_grad()
    def finish(self, step: int) -> None:
        """Scale, then add noise as large as the gradient was before."""
        if not self.is_on:
            return
        self.scales = factors(scores(added(self.parts)), self.config.alpha)
        for modality, parameters in trained_encoders(self.model).items():
            scale = self.scales.get(modality, 1.0)
            noisy = noisy_parameters(self.model.encoder(modality)) if self.config.noise else {}
            for parameter in parameters:
                gradient = parameter.grad
                if gradient is None:
                    continue
                name = noisy.get(id(parameter))
                spread = float(gradient.std()) if name is not None else 0.0
                gradient.mul_(scale)
                if spread > 0:
                    generator = torch_generator(self.seed, "gradient noise", step, modality, str(name))
                    drawn = torch.randn(gradient.shape, generator=generator).to(gradient.device)
                    gradient.add_(drawn, alpha=self.config.noise * spread)

    @property
    def figures(self) -> dict[str, Any]:
        """The factors of the last step."""
        return {"scale": dict(self.scales)} if self.scales else {}


def scores(alone: Mapping[str, Alone]) -> dict[str, float]:
    """s_m, of the modalities that this step has."""
    return {m: float(one.likelihood / one.weight) for m, one in alone.items() if one.weight > 0}


def factors(found: Mapping[str, float], alpha: float) -> dict[str, float]:
    """k_m; with fewer than two modalities nothing is ahead."""
    result: dict[str, float] = {}
    for modality, score in found.items():
        others = [other for m, other in found.items() if m != modality]
        mean = sum(others) / len(others) if others else 0.0
        ratio = score / mean if mean > 0 else 1.0
        result[modality] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return result


def noisy_parameters(encoder: nn.Module) -> dict[int, str]:
    """Matrices and kernels by identity, with their names; word vectors are none."""
    words = {id(p) for m in encoder.modules() if isinstance(m, Embedding | nn.Embedding) for p in m.parameters()}
    return {id(p): name for name, p in encoder.named_parameters() if p.ndim >= 2 and id(p) not in words}
