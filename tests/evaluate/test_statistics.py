"""The bootstrap against its definition written longhand, its coverage, and what has no interval."""

import numpy as np
import pytest

from plait.evaluate.statistics import ALONE, Bootstrap, Figure, Groupings, figure, group_sums, resample
from plait.seeds import numpy_generator
from plait.types import Sample


def ratio(totals: np.ndarray) -> np.ndarray:
    return totals[..., 0] / totals[..., 1]


def mean_of(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def measure(statistics: np.ndarray, groupings: dict[str, np.ndarray], **settings: object) -> Figure:
    proportion = bool(settings.pop("proportion", False))
    bootstrap = Bootstrap(**settings)  # pyright: ignore[reportArgumentType]
    return figure(
        statistics, ratio, groupings, bootstrap=bootstrap, undefined="nothing to divide by", proportion=proportion
    )


def test_the_interval_is_its_definition_written_longhand() -> None:
    """Draw as many groups as there are, with replacement; take all their samples; score; take the quantiles."""
    rng = np.random.default_rng(0)
    statistics = np.stack([rng.integers(0, 4, 12), rng.integers(1, 9, 12)], axis=1).astype(float)
    group = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6])
    generator = numpy_generator(7, "bootstrap", "picture", 7)
    scores = []
    for drawn in generator.integers(7, size=(200, 7)):
        edits = words = 0.0
        for one in drawn:
            for row, of_group in zip(statistics, group, strict=True):
                if of_group == one:
                    edits += row[0]
                    words += row[1]
        scores.append(edits / words)
    low, high = np.quantile(scores, [0.05, 0.95])
    found = measure(statistics, {"picture": group}, num_resamples=200, confidence=0.9, seed=7)
    assert found.value == pytest.approx(statistics[:, 0].sum() / statistics[:, 1].sum(), rel=1e-12)
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-12), pytest.approx(high, rel=1e-12))
    assert (found.n, found.num_groups, found.grouping) == (12, 7, "picture")


def simulate(num_groups: int, per_group: int, trials: int, *, by_group: bool) -> float:
    """The share of 95 % intervals that hold the truth 0: group effects of sd 1, sample effects of sd 1."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(num_groups), per_group)
    groupings = {"picture": group} if by_group else {ALONE: np.arange(len(group))}
    hits = 0
    for trial in range(trials):
        values = rng.normal(size=num_groups)[group] + rng.normal(size=len(group))
        found = measure(mean_of(values), groupings, num_resamples=500, seed=trial)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    return hits / trials


def test_coverage_of_clustered_intervals_and_of_ignoring_the_clusters() -> None:
    """200 trials: a true 95 % gives 91 to 98.5 % with probability 0.99; samples taken as independent cover far too little."""
    assert 0.90 <= simulate(60, 5, 200, by_group=True) <= 0.985
    assert simulate(60, 5, 200, by_group=False) < 0.85


def test_crossed_groupings_where_one_leads_give_its_interval() -> None:
    """40 pictures × 8 speakers, the speakers differ most: the interval is about the speakers', several times the pictures'."""
    rng = np.random.default_rng(2)
    picture, speaker = np.repeat(np.arange(40), 8), np.tile(np.arange(8), 40)
    values = rng.normal(size=8)[speaker] + 0.3 * rng.normal(size=40)[picture] + 0.3 * rng.normal(size=320)
    groupings = {"picture": picture, "speaker": speaker}
    both = measure(mean_of(values), groupings)
    single = {name: span(measure(mean_of(values), {name: group})) for name, group in groupings.items()}
    assert single["speaker"] <= span(both) < 1.1 * single["speaker"]
    assert span(both) > 3 * single["picture"]
    assert both.grouping in ("speaker", "picture × speaker")
    assert both.num_groups == 8
    assert both.note == "only 8 groups (speaker): the interval is probably too narrow"


def span(found: Figure) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_crossed_groupings_add_as_variances_do() -> None:
    """Longhand: V_a + V_b − V_ab of the squared distances of the bounds, for each side."""
    rng = np.random.default_rng(3)
    picture, speaker = np.repeat(np.arange(30), 30), np.tile(np.arange(30), 30)
    values = mean_of(rng.normal(size=30)[picture] + rng.normal(size=30)[speaker] + rng.normal(size=900))
    both = measure(values, {"picture": picture, "speaker": speaker})
    a, b = (measure(values, {name: group}) for name, group in (("picture", picture), ("speaker", speaker)))
    cells = measure(values, {"picture × speaker": np.arange(900)})
    assert a.value is not None
    low = np.sqrt(sum(sign * (a.value - f.low) ** 2 for sign, f in ((1, a), (1, b), (-1, cells))))  # pyright: ignore
    high = np.sqrt(sum(sign * (a.value - f.high) ** 2 for sign, f in ((1, a), (1, b), (-1, cells))))  # pyright: ignore
    assert both.low == pytest.approx(a.value - low, rel=1e-12)
    assert both.high == pytest.approx(a.value + high, rel=1e-12)


def test_a_nested_grouping_changes_nothing() -> None:
    """Speakers within accents: V_accent + V_speaker − V_speaker is V_accent."""
    rng = np.random.default_rng(4)
    speaker = np.repeat(np.arange(60), 3)
    accent = speaker // 2
    values = mean_of(rng.normal(size=30)[accent] + 0.1 * rng.normal(size=180))
    alone = measure(values, {"accent": accent})
    both = measure(values, {"accent": accent, "speaker": speaker})
    assert span(both) == pytest.approx(span(alone), rel=0.1)


def test_coverage_of_crossed_groupings() -> None:
    """100 trials, 40 × 40, equal effects. Previously the widest single interval was taken, which covers 84 %."""
    rng = np.random.default_rng(6)
    picture, speaker = np.repeat(np.arange(40), 40), np.tile(np.arange(40), 40)
    hits = {"both": 0, "alone": 0}
    for trial in range(100):
        values = mean_of(rng.normal(size=40)[picture] + rng.normal(size=40)[speaker] + rng.normal(size=1600))
        for name, groupings in (
            ("both", {"picture": picture, "speaker": speaker}),
            ("alone", {ALONE: np.arange(1600)}),
        ):
            found = measure(values, groupings, num_resamples=200, seed=trial)
            assert found.low is not None
            assert found.high is not None
            hits[name] += found.low <= 0 <= found.high
    assert hits["both"] >= 88
    assert hits["alone"] < 50


def test_a_combined_interval_stays_within_the_range_of_the_score() -> None:
    picture, speaker = np.repeat(np.arange(30), 30), np.tile(np.arange(30), 30)
    wrong = (picture < 2) & (speaker < 15) | (speaker == 7)
    groupings = {"picture": picture, "speaker": speaker}
    settings = {"bootstrap": Bootstrap(), "undefined": ""}
    free = figure(mean_of(1.0 - wrong), ratio, groupings, **settings)
    held = figure(mean_of(1.0 - wrong), ratio, groupings, limits=(0.0, free.high - 0.01), **settings)  # pyright: ignore
    assert held.high == pytest.approx(free.high - 0.01)  # pyright: ignore
    assert held.low == free.low


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    values = mean_of(np.random.default_rng(0).normal(size=40))
    groupings = {ALONE: np.arange(40)}
    assert measure(values, groupings, seed=1) == measure(values, groupings, seed=1)
    assert measure(values, groupings, seed=1) != measure(values, groupings, seed=2)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    import plait.evaluate.statistics as module

    sums = np.random.default_rng(0).normal(size=(30, 2))
    whole = resample(sums, "picture", Bootstrap(seed=3))
    monkeypatch.setattr(module, "_CHUNK", 100)
    assert resample(sums, "picture", Bootstrap(seed=3)) == pytest.approx(whole, rel=1e-12)


def test_group_sums() -> None:
    sums = group_sums(np.array([[1.0, 1.0], [2.0, 1.0], [5.0, 1.0]]), np.array([4, 9, 4]))
    assert sums.tolist() == [[6.0, 2.0], [2.0, 1.0]]


def test_one_group_has_no_interval_and_says_why() -> None:
    found = measure(mean_of(np.array([1.0, 0.0, 1.0])), {"speaker": np.zeros(3, dtype=int)})
    assert found.value == pytest.approx(2 / 3)
    assert (found.low, found.high) == (None, None)
    assert found.note == "no interval: all samples share one speaker"
    one = measure(mean_of(np.array([1.0])), {ALONE: np.arange(1)})
    assert one.note == "no interval: there is one sample"


def test_a_grouping_of_one_group_is_named_beside_the_interval_of_the_other() -> None:
    values = mean_of(np.random.default_rng(0).normal(size=30))
    found = measure(values, {"picture": np.arange(30), "speaker": np.zeros(30, dtype=int)})
    assert found.grouping == "picture"
    assert found.low is not None
    assert found.note == "no interval: all samples share one speaker"


def test_all_alike_is_not_certainty() -> None:
    """A bootstrap of 60 right answers says 100 % to 100 %; the exact bound for 30 groups is (α/2)^(1/30)."""
    group = np.repeat(np.arange(30), 2)
    right = measure(mean_of(np.ones(60)), {"picture": group}, proportion=True)
    assert (right.value, right.high) == (1.0, 1.0)
    assert right.low == pytest.approx(0.025 ** (1 / 30))
    wrong = measure(mean_of(np.zeros(60)), {"picture": group}, proportion=True)
    assert (wrong.low, wrong.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 30)))
    rate = measure(mean_of(np.zeros(60)), {"picture": group})
    assert (rate.value, rate.low, rate.high) == (0.0, None, None)
    assert rate.note == "no interval: every picture scores alike, so resampling cannot show the error"


def test_undefined_and_empty() -> None:
    def nothing(totals: np.ndarray) -> np.ndarray:
        return np.full(totals.shape[:-1], np.nan)

    settings = {"bootstrap": Bootstrap(), "undefined": "the reference has no words"}
    found = figure(np.ones((4, 2)), nothing, {ALONE: np.arange(4)}, **settings)
    assert found == Figure(None, None, None, 4, note="the reference has no words")
    assert figure(np.zeros((0, 2)), ratio, {}, **settings).note == "no sample could be scored"


def test_samples_without_a_group_stand_alone() -> None:
    samples = [
        Sample("a", "test", groups={"picture": "1", "speaker": "x"}),
        Sample("b", "test", groups={"picture": "1"}),
        Sample("c", "test", groups={"picture": "2"}),
        Sample("d", "test"),
    ]
    groupings = Groupings.of(samples)
    whole = groupings.among(np.arange(4))
    assert whole["picture"].tolist() == [0, 0, 1, 2]
    assert len(set(whole["speaker"].tolist())) == 4
    assert list(groupings.among(np.array([1, 2]))) == ["picture"]  # no speaker among them
    assert list(groupings.among(np.array([3]))) == [ALONE]
    assert list(Groupings.of([Sample("e", "test")]).among(np.arange(1))) == [ALONE]
