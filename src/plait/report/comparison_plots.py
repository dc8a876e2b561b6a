"""The plots of a comparison: differences to the best, score against price, learning curves, what each modality brings.

In: a `ComparisonResult`.
Out: `Plot`s, or nothing where there is nothing to draw.
Invariant: an arm has the same form and colour in all of them, by its role; what is off the scale is named at the edge, not cut off
in silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

from plait.compare.result import ArmResult, ComparisonResult, Credit, Point
from plait.explain.looks import Look, looks
from plait.report.palette import COLOURS, ROLE, role_colour
from plait.report.svg import Plot, Width, clean, plot
from plait.report.words import COSTS, Cost, gap, gap_unit, listed, metric_title, plain, score, several

LONGEST: dict[Width, int] = {"wide": 30, "narrow": 17}
"""Letters of an arm's name in a plot; whole names stand in the tables."""

PLACES = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (6, 6, "left", "bottom"),
    (6, -6, "left", "top"),
    (-6, 6, "right", "bottom"),
    (-6, -6, "right", "top"),
)
"""Where a label may stand beside its point, in order of preference."""

FAR = 2.0
"""Arms farther from the best than so many times the candidates' range stand at the edge."""


def scored(result: ComparisonResult) -> list[ArmResult]:
    """The arms with a score, the best first."""
    return [arm for arm in result.arms if arm.score is not None]


def forest(result: ComparisonResult) -> Plot | None:
    """Each arm's difference to the best one with its interval."""
    arms, metric = scored(result), result.metric
    if len(arms) < 2:
        return None
    factor = 100.0 if metric.percent else 1.0
    better = "right" if metric.higher_is_better else "left"

    def draw(figure: Any, width: Width) -> None:
        wide = width == "wide"
        figure.set_size_inches(figure.get_figwidth(), 0.75 + 0.27 * len(arms))
        axes = figure.add_subplot()
        low, high = _range(arms, factor)
        axes.set_xlim(low, high)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.axvline(0, color=COLOURS["axis"], linewidth=0.9, linestyle=(0, (4, 3)))
        for place, arm in enumerate(arms):
            _one_difference(axes, place, arm, factor, (low, high))
            if wide:
                words = _beside(result, arm)
                axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_yticks(range(len(arms)), [clean(arm.name, LONGEST[width]) for arm in arms])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel(
            f"difference to the best, {gap_unit(metric)}   ({better} is better)"
            if wide
            else f"{gap_unit(metric)} ({better} is better)"
        )

    worse = [clean(arm.name) for arm in arms if arm.against and arm.against.worse]
    said = f"{several(len(worse), 'arm is', 'arms are')} measurably worse than {clean(arms[0].name)}"
    described = f"{said}: {listed(worse)}." if worse else f"No arm is measurably worse than {clean(arms[0].name)}."
    return plot(
        draw,
        title=f"Differences of {metric_title(metric.name)} to the best arm",
        description=f"{described} The numbers stand in the table of arms.",
        key="forest",
    )


def _range(arms: Sequence[ArmResult], factor: float) -> tuple[float, float]:
    """What the axis shows: the best, all candidates, and the baselines that are not far off."""
    bounds = [(factor * b, a.role == "candidate") for a in arms if a.against for b in (a.against.low, a.against.high)]
    return near([(0.0, True), *bounds])


def near(values: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """A range with some room that holds the values that must be in it, and of the others those that are not far off."""
    needed = [value for value, must in values if must]
    if len(needed) < 2:
        needed = [value for value, _ in values]
    low, high = min(needed), max(needed)
    reach = FAR * max(high - low, 1e-9)
    held = [value for value, _ in values if low - reach <= value <= high + reach]
    low, high = min(held), max(held)
    room = 0.08 * (high - low or 1.0)
    return low - room, high + room


def _one_difference(axes: Any, place: int, arm: ArmResult, factor: float, shown: tuple[float, float]) -> None:
    """A row: marker and interval; hollow where the arm is not measurably worse; an arrow at the edge where it is off the scale."""
    ink, marker = role_colour(arm.role), ROLE[arm.role][1]
    if arm.against is None:
        axes.plot([0], [place], marker="*", markersize=10, color=ink, linestyle="none")
        return
    value, low, high = (factor * number for number in (arm.against.value, arm.against.low, arm.against.high))
    if low < shown[0] or high > shown[1]:
        edge, sign, ha = (shown[0], "◀", "left") if value < 0 else (shown[1], "▶", "right")
        words = f"{sign} {value:.3g}".replace("-", "−") if ha == "left" else f"{value:.3g} {sign}"
        axes.text(edge, place, words, color=ink, va="center", ha=ha, fontsize=8)
        return
    face = ink if arm.against.worse else COLOURS["surface"]
    axes.plot([low, high], [place, place], color=ink, linewidth=1.8, solid_capstyle="butt")
    for bound in (low, high):
        axes.plot([bound, bound], [place - 0.16, place + 0.16], color=ink, linewidth=1.2)
    axes.plot([value], [place], marker=marker, markersize=6, color=ink, markerfacecolor=face, linestyle="none")


def _beside(result: ComparisonResult, arm: ArmResult) -> str:
    if arm.against is None:
        return f"the best: {score(result.metric, arm.score)}"
    bounds = f"[{plain(result.metric, arm.against.low)}, {plain(result.metric, arm.against.high)}]"
    return f"{gap(result.metric, arm.against.value)} {bounds}"


def frontiers(result: ComparisonResult) -> list[Plot]:
    """Score against every price that at least two arms have, the one that a person feels first at the front and large."""
    found = []
    for name, cost in COSTS.items():
        arms = [(arm, getattr(arm.price, name)) for arm in scored(result)]
        points = [(arm, cost.factor * price) for arm, price in arms if price]
        if name in result.frontier and len(points) > 1:
            one = _frontier(result, name, cost, points, small=bool(found))
            found += [one] if one else []
    return found


def _frontier(
    result: ComparisonResult, name: str, cost: Cost, points: list[tuple[ArmResult, float]], *, small: bool
) -> Plot | None:
    factor, on = 100.0 if result.metric.percent else 1.0, set(result.frontier[name])
    numbers = {arm.name: number for number, arm in enumerate(result.arms, 1)}

    def draw(figure: Any, width: Width) -> None:
        figure.set_size_inches(figure.get_figwidth(), 3.3 if width == "wide" else 2.7)
        axes = figure.add_subplot()
        price_axis(axes, cost, [price for _, price in points])
        line = sorted((price, factor * (arm.score or 0.0)) for arm, price in points if arm.name in on)
        if line:
            where = "post" if cost.less_is_better else "pre"
            dashed = {"color": COLOURS["axis"], "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1}
            axes.step(*zip(*line, strict=True), where=where, **dashed)
        for arm, price in points:
            ink = role_colour(arm.role)
            face = ink if arm.name in on else COLOURS["surface"]
            axes.plot(
                [price], [factor * (arm.score or 0)], ROLE[arm.role][1], color=ink, markersize=6.5, markerfacecolor=face
            )
        axes.margins(x=0.14, y=0.12)
        scores = [(factor * (arm.score or 0.0), arm.role == "candidate") for arm, _ in points]
        low, high = near(scores)
        axes.set_ylim(low, high)
        axes.grid()
        axes.set_axisbelow(True)
        unit = "%" if result.metric.percent else gap_unit(result.metric)
        axes.set_ylabel(f"{metric_title(result.metric.name)}{', ' * bool(unit)}{unit}")
        shown = [(price, factor * (arm.score or 0.0), _label(arm, numbers, on, width)) for arm, price in points]
        _labels(figure, axes, [one for one in shown if low <= one[1] <= high])
        for price, value, label in shown:
            if not low <= value <= high:
                _off_scale(axes, price, value, label, (low, high))

    names = [clean(arm.name) for arm, _ in sorted(points, key=lambda one: one[1]) if arm.name in on]
    title = f"{metric_title(result.metric.name)} against {cost.title}"
    described = (
        f"No other arm is both better and {'cheaper' if cost.less_is_better else 'faster'} than: {listed(names)}."
    )
    return plot(
        draw,
        title=title,
        description=f"{described} The numbers stand in the table of prices.",
        key=f"frontier {name}",
        small=small,
    )


def price_axis(axes: Any, cost: Cost, prices: Sequence[float]) -> None:
    """Plain numbers, on a log scale where they differ much."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    log = max(prices) > 10 * min(prices)
    if log:
        axes.set_xscale("log")
    numbers = ScalarFormatter(useOffset=False)
    numbers.set_scientific(False)
    axes.xaxis.set_major_formatter(numbers)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{cost.title}, {cost.unit}{' (log scale)' * log}")


def _off_scale(axes: Any, price: float, value: float, label: str, shown: tuple[float, float]) -> None:
    """An arm whose score is not in the picture: it is named at the edge, at its price, and its score is said."""
    below = value < shown[0]
    axes.annotate(
        f"{'◀' if below else '▶'} {label}: {value:.3g}".replace("-", "−"),
        (price, shown[0] if below else shown[1]),
        (0, 4 if below else -4),
        textcoords="offset points",
        rotation=90,
        ha="center",
        va="bottom" if below else "top",
        fontsize=7,
        annotation_clip=False,
    )


def _label(arm: ArmResult, numbers: dict[str, int], on: set[str], width: Width) -> str:
    """Arms of the frontier by name, the others by their number in the table."""
    number = str(numbers[arm.name])
    return f"{number} {clean(arm.name, 24 if width == 'wide' else 13)}" if arm.name in on else number


def _labels(figure: Any, axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Each label beside its point where it covers least of what is there already; long ones choose last."""
    figure.canvas.draw()
    figure.set_layout_engine("none")
    renderer, frame = figure.canvas.get_renderer(), axes.get_window_extent()
    here = [tuple(map(float, axes.transData.transform((x, y)))) for x, y, _ in points]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in here]
    for k in sorted(range(len(points)), key=lambda k: len(points[k][2])):
        tried = []
        for dx, dy, ha, va in PLACES:
            one = axes.annotate(
                points[k][2], points[k][:2], (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7.5
            )
            box = one.get_window_extent(renderer)
            extents = tuple(map(float, box.extents))
            outside = (
                max(0, frame.x0 - box.x0)
                + max(0, box.x1 - frame.x1)
                + max(0, frame.y0 - box.y0)
                + max(0, box.y1 - frame.y1)
            )
            covered = sum(_overlap(extents, other) for other in taken)
            tried.append((covered + 30 * outside, len(tried), one, extents))
        best = min(tried, key=lambda one: one[:2])
        for _, _, one, _ in tried:
            if one is not best[2]:
                one.remove()
        taken.append(best[3])


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def learning(result: ComparisonResult) -> Plot | None:
    """Held-out bits per token by step, a panel for each arm, the others' means behind it."""
    arms = [arm for arm in result.arms if any(len(seed.curve) > 1 for seed in arm.seeds)]
    if not arms:
        return None
    means = {arm.name: mean_curve([seed.curve for seed in arm.seeds if seed.curve]) for arm in arms}
    bits = [point.bits for arm in arms for seed in arm.seeds for point in seed.curve if point.bits > 0]
    log = bool(bits) and max(bits) > 20 * min(bits)

    def draw(figure: Any, width: Width) -> None:
        columns = min(len(arms), 3 if width == "wide" else 2)
        rows = math.ceil(len(arms) / columns)
        figure.set_size_inches(figure.get_figwidth(), 0.35 + (1.75 if width == "wide" else 1.45) * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(arms):
                axes.set_visible(False)
                continue
            for name, curve in means.items():
                if name != arms[place].name:
                    axes.plot(*_xy(curve), color=COLOURS["faint"], linewidth=0.8)
            for seed in arms[place].seeds:
                axes.plot(*_xy(seed.curve), color=role_colour(arms[place].role), linewidth=0.7, alpha=0.6)
            axes.plot(*_xy(means[arms[place].name]), color=role_colour(arms[place].role), linewidth=2.2)
            axes.set_title(clean(arms[place].name, 24 if width == "wide" else 17), fontsize=8.5, loc="left")
            if log:
                plain_log(axes)
            axes.grid(axis="y")
        figure.supxlabel("training step", fontsize=8.5)
        figure.supylabel("held-out bits per token" + (" (log scale)" if log else ""), fontsize=8.5)

    ends = [f"{clean(arm.name)} {curve[-1].bits:.3g}" for arm in arms if (curve := means[arm.name])]
    return plot(
        draw,
        title="Learning curves: held-out bits per token by training step",
        description=f"Bits per token at the end, mean of the seeds: {'; '.join(ends)}.",
        key="learning",
    )


def plain_log(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean of the seeds at the steps that all of them have."""
    tables = [{point.step: point.bits for point in curve} for curve in curves]
    steps = sorted(set.intersection(*map(set, tables))) if tables else []
    return [Point(step, mean(table[step] for table in tables)) for step in steps]


def _xy(curve: Sequence[Point]) -> tuple[list[int], list[float]]:
    return [point.step for point in curve], [point.bits for point in curve]


def credits(result: ComparisonResult) -> Plot | None:
    """What each input brings to each explained arm: a panel per input, a row per arm."""
    arms = [arm for arm in result.arms if any(one.bits is not None for one in arm.credits)]
    names = list(dict.fromkeys(one.modality for arm in arms for one in arm.credits if one.bits is not None))
    if not arms:
        return None

    look = looks({one.modality: one.of or one.modality for arm in arms for one in arm.credits})

    def draw(figure: Any, width: Width) -> None:
        columns = min(len(names), 4) if width == "wide" else 1
        rows = -(-len(names) // columns)
        figure.set_size_inches(figure.get_figwidth(), 0.2 + (0.6 + 0.24 * len(arms)) * rows)
        grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes in grid[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(grid, names, strict=False):
            for place, arm in enumerate(arms):
                for one in arm.credits:
                    if one.modality == name and one.bits is not None:
                        _one_credit(axes, place, one, look[name])
            axes.axvline(0, color=COLOURS["axis"], linewidth=0.9)
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.set_yticks(range(len(arms)), [clean(arm.name, LONGEST["narrow"]) for arm in arms])
            axes.tick_params(axis="y", length=0)
            axes.set_title(clean(name, 24), loc="left", fontsize=8.5)
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        figure.supxlabel("bits per token", fontsize=8.5)

    said = [
        f"{one.modality} {one.bits:.2f} for {clean(arm.name)}"
        for arm in arms
        for one in arm.credits
        if one.bits is not None
    ]
    return plot(
        draw, title="Bits per token that each input brings, by arm", description=f"{'; '.join(said)}.", key="credits"
    )


def _one_credit(axes: Any, place: int, one: Credit, look: Look) -> None:
    ink = look.colour
    face = ink if one.used else COLOURS["surface"]
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [place, place], color=ink, linewidth=1.8, linestyle=look.dashes)
    axes.plot([one.bits], [place], "o", color=ink, markersize=5.5, markerfacecolor=face)
