"""What every kind of balance is: what it sets of the data, and what it does to a step of training.

In: a run's configuration and model; then, step by step, its batches, losses and gradients.
Out: other chances of modality dropout, another batch, a larger loss, or other gradients.
Invariant: the loss that is reported stays the one with all inputs. A step is the same however it is cut into micro-batches; what
a kind remembers from step to step is in `state`, which is kept with every checkpoint; every draw has a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from plait.data.config import DataConfig
from plait.errors import UserError
from plait.losses.alone import added
from plait.losses.base import Alone, AloneKind, Ask, LossOptions
from plait.types import Batch

WHERE = "balance.kind"


@runtime_checkable
class Encoding(Protocol):
    """What is read off a model, once, before anything wraps it."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    def encoder(self, modality: str) -> nn.Module: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Losses(NamedTuple):
    """What a micro-batch is trained on: `total` with all inputs, `auxiliary` (weighted) beside it, `alone` with each modality."""

    total: Float[Tensor, ""]
    auxiliary: Float[Tensor, ""]
    alone: Mapping[str, Alone] = {}


class Balance:
    """One step after another of a training; this one changes nothing.

    A step: `changed`, `begin`, then for every micro-batch `losses` and `backward`, then `finish`. Where memory is short, `begin`
    comes again.
    """

    def __init__(self, *, state: Mapping[str, float] | None = None) -> None:
        self.state: dict[str, float] = dict(state or {})
        self.parts: list[Mapping[str, Alone]] = []

    def wants(self) -> AloneKind | None:
        """What each pass of this step has to answer about each modality alone."""
        return None

    def dropout_of(self, modality: str, step: int) -> float | None:
        """The chance that a sample loses this modality in this step; None = what `train` says."""
        return None

    def asks(self, step: int) -> bool:
        """Whether it has to be told the losses with each modality alone before this step."""
        return False

    def knows_alone(self, step: int) -> bool:
        """Whether it computes the losses with each modality alone in this step anyway."""
        return False

    def hear(self, alone: Mapping[str, float]) -> None:
        """Be told them, in nats per token."""

    def changed(self, batch: Batch, step: int) -> Batch:
        """The batch to train on in this step."""
        return batch

    def begin(self, step: int) -> None:
        """No micro-batch of the step is done."""
        self.parts = []

    def losses(self, model: nn.Module, batch: Batch, *, label_smoothing: float) -> Losses:
        """The losses of a micro-batch, from one call of the model."""
        sums, _, alone = model(batch, Ask(alone=self.wants(), label_smoothing=label_smoothing))
        if alone:
            self.parts.append({m: one.detached() for m, one in alone.items()})
        return Losses(sums.total, sums.auxiliary, alone)

    def backward(self, found: Losses, weight: Float[Tensor, ""]) -> None:
        """Add the micro-batch's gradients; `weight` is what the whole step's sums are divided by."""
        ((found.total + found.auxiliary) / weight).backward()

    def finish(self, step: int) -> None:
        """All micro-batches are done: what is in `.grad` is what the optimiser gets."""

    @property
    def alone(self) -> dict[str, float]:
        """Nats per token with each modality alone in the step that was finished, where the kind needs them anyway."""
        return {m: float(one.total / one.weight) for m, one in added(self.parts).items() if one.weight > 0}

    @property
    def figures(self) -> dict[str, Any]:
        """What it did in the last step, for the metrics; numbers by name, perhaps by modality."""
        return {}


class WithAlone(Balance):
    """A balance that needs the losses with each modality alone, in every step; encoders run once for all of them."""

    def __init__(self, *, state: Mapping[str, float] | None = None) -> None:
        super().__init__(state=state)

    def knows_alone(self, step: int) -> bool:
        """It does."""
        return True

    def wants(self) -> AloneKind | None:
        """The losses, to learn from them."""
        return "losses"


class BalanceOptions(LossOptions):
    """The base of every kind's configuration."""

    stated_as: ClassVar[str] = "balance"
    kept_as: ClassVar[str] = "balance"
    advice: ClassVar[str] = ""
    """What it does and when to try it, in one line."""
    num_modalities: ClassVar[int] = 1
    """Modalities that a run must read."""
    trains_alone: ClassVar[bool] = False
    """Whether the model is trained with each modality alone, so that it may be asked in that way."""

    def check(self, *, data: DataConfig, modality_dropout: float | Mapping[str, float]) -> None:
        """ValueError where another section of the configuration says otherwise."""

    def data_of(self, data: DataConfig) -> DataConfig:
        """The data as this kind has them drawn and weighed in training."""
        return data

    def dropout_of(self, modality: str, share: float) -> float | None:
        """The chance of dropping a modality after this share of the steps; None = what `train` says."""
        return None

    def highest_dropout(self, modality: str) -> float | None:
        """The highest of these."""
        return None

    def changes(self, modality: str) -> bool:
        """Whether what this encoder reads may be changed at random, so that its features are not the item's own."""
        return False

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """What it does in training; UserError where this model cannot be trained so. `state`: from a checkpoint."""
        self.refuse_few(model)
        return Balance(state=state)

    def refuse_few(self, model: Encoding) -> None:
        """One message where the run reads too few modalities."""
        if len(model.inputs) < self.num_modalities:
            raise UserError(
                f"{self.kind_name} balances modalities against each other: the run reads "
                f"{', '.join(model.inputs) or 'no inputs'}",
                where=WHERE,
                right="Take balance.kind=none, or give data.inputs two modalities or more",
            )

    def refuse_frozen(self, model: Encoding) -> None:
        """One message where no encoder trains."""
        if not trained_encoders(model):
            raise UserError(
                f"{self.kind_name} changes the gradients of encoders, and all of this run are frozen",
                where=WHERE,
                right="Take balance.kind=none or unimodal, or leave an encoder out of encoders.freeze",
            )

    def refuse_shared(self, model: Encoding) -> None:
        """One message where two modalities have one encoder: its gradient has no part that is one modality's."""
        owners: dict[int, str] = {}
        for modality, parameters in trained_encoders(model).items():
            for parameter in parameters:
                other = owners.setdefault(id(parameter), modality)
                if other != modality:
                    raise UserError(
                        f"{self.kind_name} changes the gradient of each encoder, and {other} and {modality} share one",
                        where=WHERE,
                        right="Take balance.kind=none or unimodal, or give each of them an encoder of its own",
                    )

    @property
    def kind_name(self) -> str:
        """Its kind."""
        return str(self.model_dump(include={"kind"})["kind"])


def trained_encoders(model: Encoding) -> dict[str, list[nn.Parameter]]:
    """The parameters that train of every encoder that has any: frozen encoders are exempt."""
    found = {m: [p for p in model.encoder(m).parameters() if p.requires_grad] for m in model.inputs}
    return {m: parameters for m, parameters in found.items() if parameters}


def gradient_norms(encoders: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
    """The norm of each trained encoder's gradient, as it stands; 0 where no sample had the modality."""
    return {m: norm([p.grad for p in own if p.grad is not None]) for m, own in encoders.items()}


def norm(gradients: Sequence[Tensor]) -> float:
    """√Σ g²."""
    return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
