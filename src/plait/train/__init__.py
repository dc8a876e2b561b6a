"""Training: a model and its batches → a run folder."""

from plait.train.fit import Fitted, fit, usable_device
from plait.train.loop import TrainResult, train
from plait.train.progress import Progress, Quiet, progress_for
from plait.train.signals import Interrupted
from plait.train.step import NonFinite

__all__ = [
    "Fitted",
    "Interrupted",
    "NonFinite",
    "Progress",
    "Quiet",
    "TrainResult",
    "fit",
    "progress_for",
    "train",
    "usable_device",
]
