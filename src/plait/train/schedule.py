"""The learning rate of a step.

In: the training configuration and the number of the step, counted from 1.
Out: the learning rate.
Invariant: it depends on nothing else, so a resumed run needs no state for it. Once the warm-up is over it never rises, also where a
resume changed the number of steps: it then falls from where it was to the new end.
"""

from __future__ import annotations

import math

from plait.config import TrainConfig
from plait.config.train import Continued


def learning_rate(config: TrainConfig, step: int) -> float:
    """A linear rise over the warm-up, then a cosine down to `final_fraction` of the height at the last step."""
    warmup = min(config.num_steps_of(config.warmup), config.steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    low, onward = config.final_fraction, config.continued
    if onward is None or onward.after <= warmup:
        return config.learning_rate * (low + (1 - low) * share_left(step, warmup, config.steps))
    low *= config.learning_rate
    return low + max(onward.rate - low, 0.0) * share_left(step, onward.after, config.steps)


def share_left(step: int, first: int, last: int) -> float:
    """From 1 at `first` to 0 at `last`, along half a cosine."""
    done = (step - first) / max(last - first, 1)
    return 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))


def continued(config: TrainConfig, step: int) -> Continued | None:
    """What a run that has done `step` steps of this configuration goes on from when it gets another number of steps."""
    if step == 0:
        return None
    return Continued(after=step, rate=learning_rate(config, step), planned=config.planned_steps)
