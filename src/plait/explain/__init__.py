"""How many bits each modality brings: losses under every subset, Shapley credit, interactions, reliance, verdicts."""

from plait.explain.plot import INSTALL, can_plot, plot
from plait.explain.render import render
from plait.explain.result import Explanation, Interaction, ModalityCredit, SegmentResult, Verdict
from plait.explain.run import explain
from plait.explain.sample import explain_sample, find_sample
from plait.explain.sample_plot import plot_sample
from plait.explain.sample_render import render_sample
from plait.explain.sample_result import SampleExplanation

__all__ = [
    "INSTALL",
    "Explanation",
    "Interaction",
    "ModalityCredit",
    "SampleExplanation",
    "SegmentResult",
    "Verdict",
    "can_plot",
    "explain",
    "explain_sample",
    "find_sample",
    "plot",
    "plot_sample",
    "render",
    "render_sample",
]
