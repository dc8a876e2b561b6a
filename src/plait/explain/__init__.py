"""How many bits each modality brings: losses under every subset, Shapley credit, interactions, reliance, verdicts."""

from plait.explain.plot import INSTALL, can_plot, plot
from plait.explain.render import render
from plait.explain.result import Explanation, Interaction, ModalityCredit, SegmentResult, Verdict
from plait.explain.run import explain

__all__ = [
    "INSTALL",
    "Explanation",
    "Interaction",
    "ModalityCredit",
    "SegmentResult",
    "Verdict",
    "can_plot",
    "explain",
    "plot",
    "render",
]
