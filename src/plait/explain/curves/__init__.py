"""Scores against growing damage to one modality at a time: noise, blur, occlusion, JPEG, inputs that are missing."""

from plait.explain.curves.plot import plot
from plait.explain.curves.render import render
from plait.explain.curves.result import Curve, Curves, Line
from plait.explain.curves.run import LIMIT, curves

__all__ = ["LIMIT", "Curve", "Curves", "Line", "curves", "plot", "render"]
