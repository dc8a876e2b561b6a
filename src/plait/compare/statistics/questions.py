"""Two questions, each with its own 5 %: does an arm beat the baselines, and which of the candidates is the best?

In: a `ScoreTable` of all arms; which of them are candidates (the others are baselines), which read nothing.
Out: a `Decided`: the comparison that each arm's difference is taken from, and the verdict.
Invariant: an arm that answers the second question is a candidate, or a baseline that the first one could not part from the best.

Baselines are mostly far behind and their seeds vary in another way (a model without input that learns the most frequent answer at
one seed and nothing at another): in one family with them the candidates would be compared with wider intervals than they need, so
that more baselines would mean fewer differences seen between candidates. The best arm is the same in both families: it has the
highest score of all, and so stands in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from plait.compare.statistics.cost import Cost
from plait.compare.statistics.differences import Comparison, Difference, compare
from plait.compare.statistics.table import ScoreTable
from plait.compare.statistics.verdict import Verdict, verdict, without_unstable
from plait.compare.statistics.wording import gap, listed


@dataclass(frozen=True)
class Decided:
    """`overall`: all arms. `inner`: candidates and what is level with the best; the same where there is nothing else."""

    overall: Comparison
    inner: Comparison
    verdict: Verdict

    @property
    def ranking(self) -> tuple[str, ...]:
        """All arms, the best first."""
        return self.overall.ranking

    @property
    def differences(self) -> dict[str, Difference]:
        """Every arm but the best → its difference, of the family that it belongs to.

        Where an unstable arm is left out of the verdict, that of the others is theirs.
        """
        judged = without_unstable(self.inner)
        same = judged.differences if judged.best == self.overall.best else ()
        return {d.arm: d for d in (*self.overall.differences, *self.inner.differences, *same)}


def decide(
    table: ScoreTable,
    *,
    candidates: Collection[str],
    costs: Mapping[str, Cost] | None = None,
    empty: Collection[str] = (),
    partial: Collection[str] = (),
    worth: float | None = None,
    seconds_per_seed: float | None = None,
) -> Decided:
    """Answer both questions. `empty`: the baselines that read nothing, `partial`: those that read all inputs but one; `worth` and
    `seconds_per_seed` as for `verdict`.
    """
    overall, costs = compare(table), costs or {}
    kept = [arm for arm in table.arms if arm in candidates or arm in overall.level]
    if len(kept) == 1:
        kept = list(table.arms)
    inner = overall if len(kept) == len(table.arms) else compare(table.only(kept))
    found = verdict(
        inner,
        costs={arm: cost for arm, cost in costs.items() if arm in kept},
        without=[arm for arm in kept if arm not in candidates],
        empty=[arm for arm in kept if arm in empty],
        partial=[arm for arm in kept if arm in partial],
        worth=worth,
        seconds_per_seed=seconds_per_seed,
    )
    if inner.winner in set(table.arms) - {*candidates, *empty}:
        found = replace(found, further=(left_behind(inner.best, inner.best in partial), *found.further))
    if inner is overall:
        return Decided(overall, overall, found)
    behind = [d for d in overall.differences if d.arm not in kept]
    best = max(behind, key=lambda d: d.score if table.higher_is_better else -d.score)
    which = "all" if set(kept) <= set(candidates) else "the other"
    line = f"{which} baselines are measurably worse than {overall.best}; the best of them, {best.arm}, by {gap(overall, best)}"
    level = [arm for arm in kept if arm in candidates and not beats(table, arm, best.arm)]
    also = [f"not measurably better than {best.arm}: {listed(level, 'and')}"] if level else []
    return Decided(overall, inner, replace(found, further=(line, *also, *found.further)))


def left_behind(single: str, is_partial: bool = False) -> str:
    """What it means that one modality alone, or all inputs but one, is measurably better than every arm that reads more."""
    if is_partial:
        return (
            f"{single} is measurably better than every arm that reads more: beside the input that it leaves out the others are not "
            "learnt as well; what may be tried: balance, modality dropout, more steps"
        )
    return (
        f"{single} is measurably better than every arm that reads more: beside the other inputs that modality is not learnt as "
        "well as alone; what may be tried: encoders.start_from with that run, balance, modality dropout, more steps"
    )


def beats(table: ScoreTable, arm: str, baseline: str) -> bool:
    """Whether an arm's score is measurably better than a baseline's, the two compared alone."""
    found = compare(table.only((arm, baseline)))
    return found.winner == arm
