"""The statistics of a comparison: from the records of several arms and seeds to a verdict.

In: for every arm one record per seed.
Out: a `Comparison` and a `Verdict`.
Invariant: records are read, nothing is evaluated again.
"""

from plait.compare.statistics.cost import Cost
from plait.compare.statistics.differences import Comparison, Difference, compare
from plait.compare.statistics.power import Components, Needed, Plan, detectable, needed, plan
from plait.compare.statistics.questions import Decided, decide
from plait.compare.statistics.table import ScoreTable, score_table
from plait.compare.statistics.verdict import Verdict, verdict, worth_of

__all__ = [
    "Comparison",
    "Components",
    "Cost",
    "Decided",
    "Difference",
    "Needed",
    "Plan",
    "ScoreTable",
    "Verdict",
    "compare",
    "decide",
    "detectable",
    "needed",
    "plan",
    "score_table",
    "verdict",
    "worth_of",
]
