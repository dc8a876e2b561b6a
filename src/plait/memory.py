"""What is done where memory is short: the same with fewer samples at once, and one message where that does not help.

In: something to be done with so many samples at a time.
Out: its result and the number that fitted.
Invariant: nothing but a lack of memory is taken for one; what failed is let go before it is tried again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from plait.errors import UserError

T = TypeVar("T")
MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad allocation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is a lack of memory, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in MEMORY_WORDS)


def within_memory(attempt: Callable[[int], T], micro_batch_size: int, say: Callable[[str], None]) -> tuple[T, int]:
    """`attempt(size)` with the size halved until it fits; the result and the size that fitted."""
    while True:
        try:
            return attempt(micro_batch_size), micro_batch_size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # outside of the handler: its traceback holds the tensors that are in the way
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if micro_batch_size == 1:
            raise UserError(
                "out of memory with a single sample at a time",
                right="Make the model, the pictures, or data.max_target_tokens smaller.",
            )
        micro_batch_size = math.ceil(micro_batch_size / 2)
        say(f"out of memory: going on with micro-batches of {micro_batch_size} samples (train.micro_batch_size)")


@contextmanager
def told_memory(right: str) -> Iterator[None]:
    """One message where memory runs out inside the block, and what the user can do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory", right=right) from None
