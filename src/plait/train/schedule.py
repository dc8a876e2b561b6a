"""The learning rate of a step.

In: the training configuration and the number of the step, counted from 1.
Out: the learning rate.
Invariant: it depends on nothing else, so a resumed run needs no state for it.
"""

from __future__ import annotations

import math

from plait.config import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """A linear rise over the warm-up, then a cosine down to `final_fraction` of the height at the last step."""
    warmup = min(config.num_steps_of(config.warmup), config.steps)
    if step <= warmup:
        return config.learning_rate * step / warmup
    done = (step - warmup) / max(config.steps - warmup, 1)
    low = config.final_fraction
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
