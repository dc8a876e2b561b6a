"""What a first configuration says of recordings.

In: recordings, of which the headers are read and a few beginnings are listened to.
Out: a `First`.
Invariant: none is decoded as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from plait.modalities.audio.decoding.reading import beginning_of, seconds_of
from plait.modalities.base import First, Item, spread

MOST_HEARD, HEARD_SECONDS = 50, 5.0
"""Recordings of which the beginning is listened to, and how much of it."""

LONGEST = 60.0
"""Seconds up to which the longest recording sets the limit."""


def first_of(items: Sequence[Item]) -> First:
    """How long they may be, and which channel is heard."""
    seconds = [length for item in items if (length := seconds_of(item))]  # pyright: ignore[reportArgumentType]
    limit = limit_of(seconds)
    long = sum(second > limit for second in seconds)
    why = f"the longest has {max(seconds, default=0):.1f} s; a longer one is refused"
    why = f"{long} recordings are longer and are left out (on_error)" if long else why
    cancel, stereo = opposite_channels(items)
    counted = f"left and right cancel each other in {cancel} of {stereo} stereo recordings"
    channel, because, note = "", "augment: {time_masks: 2, mel_masks: 2} helps small data", ()
    if cancel:
        channel, because = ", channel: left", f"{counted} listened to"
        note = (f"{counted}; the configuration reads the left channel (data.audio.channel)",)
    return First(
        "{kind: transformer, layers: 2}",
        found=("sounds", spread(seconds, "seconds", digits=1)) if seconds else None,
        notes=note,
        options=f"{{max_seconds: {limit}{channel}}}",
        why=f"{why}; {because}",
        encoder_why="convolutions, then self-attention; causal: true hears only the past",
        cost=0.3 * median(seconds or [2.5]) / 2.5,
        leaves_out=bool(long),
    )


def limit_of(seconds: Sequence[float]) -> int:
    """The limit of a recording's length."""
    longest = max(seconds, default=30.0)
    return max(1, math.ceil(longest)) if longest <= LONGEST else 30


def opposite_channels(items: Sequence[Item]) -> tuple[int, int]:
    """Of the recordings whose beginnings are listened to: those of opposite channels (left = −right), and those of two."""
    listened = items[:: max(1, math.ceil(len(items) / MOST_HEARD))]
    heard = (beginning_of(item, seconds=HEARD_SECONDS) for item in listened)  # pyright: ignore[reportArgumentType]
    found = [one for one in heard if one and one.channels == 2]
    return sum(one.opposite for one in found), len(found)
