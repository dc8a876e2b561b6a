"""The statistics of a comparison: from the records of several arms and seeds to a verdict.

In: for every arm one record per seed.
Out: a `Comparison` and a `Verdict`.
Invariant: records are read, nothing is evaluated again.
"""

from plait.compare.statistics.differences import Comparison, Difference, compare
from plait.compare.statistics.power import Components, Needed, detectable, needed
from plait.compare.statistics.questions import Decided, decide
from plait.compare.statistics.table import ScoreTable, score_table
from plait.compare.statistics.verdict import Cost, Verdict, verdict

__all__ = [
    "Comparison",
    "Components",
    "Cost",
    "Decided",
    "Difference",
    "Needed",
    "ScoreTable",
    "Verdict",
    "compare",
    "decide",
    "detectable",
    "needed",
    "score_table",
    "verdict",
]
