"""Training: a model and its batches → a run folder."""

from plait.train.fit import Fitted, fit
from plait.train.progress import Progress, Quiet

__all__ = ["Fitted", "Progress", "Quiet", "fit"]
