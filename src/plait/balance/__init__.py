"""Balance: what may be done where one modality is learnt at the expense of another; each kind is a candidate, none is a default.

A new kind is one file beside these and one line below. What each does, its source and its cost are in its file.
"""

from typing import TYPE_CHECKING

from plait.balance.alone import measure_alone
from plait.balance.base import Balance, BalanceOptions, Losses
from plait.balance.dropout_schedule import DropoutScheduleConfig
from plait.balance.inverse_frequency import InverseFrequencyConfig
from plait.balance.mmpareto import MMParetoConfig
from plait.balance.none import NoneConfig
from plait.balance.ogm_ge import OGMGEConfig
from plait.balance.targeted_augmentation import TargetedAugmentationConfig
from plait.balance.temperature_sampling import TemperatureSamplingConfig
from plait.balance.unimodal import UnimodalConfig
from plait.choices import one_of

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
if TYPE_CHECKING:
    BalanceConfig = BalanceOptions
else:
    BalanceConfig = one_of("balance", *BALANCES)

__all__ = ["BALANCES", "Balance", "BalanceConfig", "BalanceOptions", "Losses", "measure_alone"]
