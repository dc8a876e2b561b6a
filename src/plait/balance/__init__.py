"""The kinds of balance under the names that they had before `plait.losses`, for parts of one's own that were written then."""

import sys

from plait.losses import (
    BALANCES,
    Balance,
    BalanceConfig,
    BalanceOptions,
    Losses,
    alone,
    balance,
    dropout_schedule,
    inverse_frequency,
    measure_alone,
    mmpareto,
    none,
    ogm_ge,
    targeted_augmentation,
    temperature_sampling,
    unimodal,
)

MOVED = {"base": balance} | {
    module.__name__.rpartition(".")[2]: module
    for module in (
        alone,
        dropout_schedule,
        inverse_frequency,
        mmpareto,
        none,
        ogm_ge,
        targeted_augmentation,
        temperature_sampling,
        unimodal,
    )
}
for name, module in MOVED.items():
    sys.modules[f"{__name__}.{name}"] = module
base = balance

__all__ = ["BALANCES", "Balance", "BalanceConfig", "BalanceOptions", "Losses", "measure_alone"]
