"""`report.html`: what a comparison or a run found, as one page that opens offline, on paper, on a phone and in the dark."""

from plait.report.comparison import comparison_report

__all__ = ["comparison_report"]
