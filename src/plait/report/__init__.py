"""`report.html`: what a comparison or a run found, as one page that opens offline, on paper, on a phone and in the dark."""

from plait.report.comparison import comparison_report
from plait.report.folder import Written, report
from plait.report.found import Missing
from plait.report.run import run_report

__all__ = ["Missing", "Written", "comparison_report", "report", "run_report"]
