"""Everything that may stand beside the language model's loss: what the model adds to it, and what is done in a step with more.

`train.ctc` and `train.alignment` add a loss to the model; the kinds of `balance` are for a modality that is learnt at the expense
of another: each is a candidate, none is a default. A new kind is one file beside these and one line below. What each does, its
source and its cost are in its file.
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.losses.alone import measure_alone
from plait.losses.balance import Balance, BalanceOptions, Losses
from plait.losses.base import Answer, Ask, Beside, Given, LossOptions, LossSums
from plait.losses.ctc import CTCConfig
from plait.losses.dropout_schedule import DropoutScheduleConfig
from plait.losses.inverse_frequency import InverseFrequencyConfig
from plait.losses.links import AlignmentConfig
from plait.losses.mmpareto import MMParetoConfig
from plait.losses.none import NoneConfig
from plait.losses.ogm_ge import OGMGEConfig
from plait.losses.targeted_augmentation import TargetedAugmentationConfig
from plait.losses.temperature_sampling import TemperatureSamplingConfig
from plait.losses.unimodal import UnimodalConfig

BALANCES: tuple[type[BalanceOptions], ...] = (
    NoneConfig,
    UnimodalConfig,
    OGMGEConfig,
    MMParetoConfig,
    DropoutScheduleConfig,
    TemperatureSamplingConfig,
    InverseFrequencyConfig,
    TargetedAugmentationConfig,
)
LOSSES: tuple[type[LossOptions], ...] = (CTCConfig, AlignmentConfig, *BALANCES)

if TYPE_CHECKING:
    BalanceConfig = BalanceOptions
else:
    BalanceConfig = one_of("balance", *BALANCES)

__all__ = [
    "BALANCES",
    "LOSSES",
    "AlignmentConfig",
    "Answer",
    "Ask",
    "Balance",
    "BalanceConfig",
    "BalanceOptions",
    "Beside",
    "CTCConfig",
    "Given",
    "LossOptions",
    "LossSums",
    "Losses",
    "measure_alone",
]
