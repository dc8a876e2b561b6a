"""`plait explain --curves` from end to end: the clean point, the areas, the files, and bad input."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import plait
from plait.cli.app import run as command
from plait.evaluate import read_record
from plait.evaluate.answerer import RunAnswerer
from plait.evaluate.run import drive, split_of
from plait.evaluate.statistics import Figure
from plait.explain.curves import Curves, render
from plait.explain.curves.missing import missing_kind
from plait.explain.curves.result import area_weights, trapezoid
from plait.modalities.audio import Audio
from plait.modalities.audio.damage import WhiteNoise
from plait.modalities.damage import Source
from plait.modalities.image import Image
from plait.types import Modality

Found = tuple[int, str, str]
DAMAGES = (*Image.damages, *Audio.damages)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Any:
    """`shell("explain", folder)` → exit code, standard output, standard error."""

    def call(*words: object) -> Found:
        capsys.readouterr()
        code = command([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def found(with_dropout: Path) -> Curves:
    """The curves of the whole test split."""
    return plait.load(with_dropout).curves(limit=0, write=False)


def loss_alone(folder: Path) -> plait.api.TrainedModel:
    """The run asked for its losses only: nothing is written, which takes most of the time of a curve."""
    model = plait.load(folder)
    config = model.run.config.evaluate.model_copy(update={"metrics": dict.fromkeys(model.run.segments, ())})
    model.run.config = model.run.config.model_copy(update={"evaluate": config})
    return model


def own_copy(folder: Path, into: Path) -> Path:
    return Path(shutil.copytree(folder, into / "run"))


def without_constant(figures: Mapping[str, Mapping[str, Figure]]) -> dict[str, dict[str, Figure]]:
    return {s: {name: replace(f, constant=None) for name, f in metrics.items()} for s, metrics in figures.items()}


def test_the_clean_point_is_what_evaluate_says(with_dropout: Path, found: Curves, tmp_path: Path):
    """Bit for bit: figures with their intervals, and the answers and losses behind them."""
    folder = own_copy(with_dropout, tmp_path)
    record = plait.load(folder).evaluate()
    assert dict(found.clean) == without_constant(record.summary.metrics)
    assert (found.n, found.num_rows) == (len(record.rows), len(record.rows))
    model = plait.load(folder)
    answerer = RunAnswerer(model.run)
    rows = split_of(model.dataset().samples, "test")
    answerer.preprocessor.corruption = WhiteNoise(0.0, Source(0))
    damaged = drive(answerer, rows, batch_size=model.run.config.evaluate.batch_size)
    answerer.preprocessor.corruption = None
    again = drive(answerer, rows, batch_size=model.run.config.evaluate.batch_size)
    kept = read_record(folder / "records" / "test.parquet").rows
    for row, output, losses in zip(kept, again.outputs, again.losses, strict=True):
        assert output is not None
        assert losses is not None
        for name, segment in row.segments.items():
            assert segment.output == output.segments[name]
            assert segment.bits == losses[name].bits
    sung = [k for k, row in enumerate(rows) if row.audio is not None]
    assert sung
    assert any(damaged.losses[k] != again.losses[k] for k in sung), "and the damage did reach the model"


def test_there_is_a_curve_for_every_kind_and_modality(found: Curves):
    expected = [kind.kind for kind in DAMAGES] + [missing_kind(m) for m in Modality if m != "video"]
    assert [curve.kind for curve in found.curves] == expected
    for curve in found.curves:
        assert set(curve.segments) == {"heard", "answer"}
        for lines in curve.segments.values():
            assert next(iter(lines)) in ("wer", "accuracy")
            assert "bits_per_token" in lines
            for line in lines.values():
                assert len(line.values) == len(line.differences) == len(curve.kind.levels)


def test_differences_and_areas_are_those_of_the_points(found: Curves):
    for curve in found.curves:
        weights = area_weights(curve.kind)
        for lines in curve.segments.values():
            for line in lines.values():
                values = [figure.value for figure in (line.clean, *line.values)]
                for value, difference in zip(values[1:], line.differences, strict=True):
                    assert difference.value == pytest.approx(value - values[0], abs=1e-12)
                assert line.area.value == pytest.approx(float(weights @ np.array(values)), rel=1e-12)
                assert min(values) - 1e-12 <= line.area.value <= max(values) + 1e-12
                if line.area.low is not None:
                    assert line.area.low <= line.area.high


def test_the_loss_moves_with_the_damage(found: Curves):
    """A model of two steps does not understand, but it must have been given other numbers; and the last rate is `--inputs`."""
    for curve in found.curves:
        losses = [figure.value for figure in curve.segments["answer"]["bits_per_token"].values]
        assert curve.segments["answer"]["bits_per_token"].clean.value not in losses
        assert len(set(losses)) == len(losses)


def test_all_missing_is_an_evaluation_without_the_modality(with_dropout: Path, found: Curves):
    model = plait.load(with_dropout)
    record = model.evaluate(inputs=["text", "image"], write=False)
    having = {s.id for s in model.dataset().samples if s.split == "test" and s.audio is not None}
    bits = [
        row.segments["answer"].bits
        for row in record.rows
        if row.id in having and row.segments["answer"].bits is not None
    ]
    tokens = [row.segments["answer"].num_tokens for row in record.rows if row.id in having]
    curve = next(c for c in found.curves if (c.kind.name, c.kind.modality) == ("missing", "audio"))
    assert curve.n == len(having) == len(bits)
    last = curve.segments["answer"]["bits_per_token"].values[-1]
    assert last.value == pytest.approx(sum(bits) / sum(tokens), rel=1e-5)


@pytest.mark.parametrize(
    ("points", "expected"),
    [([0.0, 1.0], [0.5, 0.5]), ([20.0, 10.0, 0.0], [0.25, 0.5, 0.25]), ([0.0, 1.0, 4.0], [1 / 8, 4 / 8, 3 / 8])],
)
def test_the_trapezoid_rule(points: list[float], expected: list[float]):
    weights = trapezoid(np.array(points))
    assert weights.tolist() == pytest.approx(expected)
    line = np.array([3.0 + 2.0 * p for p in points])  # of a straight line the mean is that of its ends
    assert weights @ line == pytest.approx((line[0] + line[-1]) / 2)


@pytest.mark.parametrize("kind", [kind.kind for kind in DAMAGES] + [missing_kind("text")])
def test_a_constant_score_has_itself_as_its_area(kind: Any):
    weights = area_weights(kind)
    assert len(weights) == 1 + len(kind.levels)
    assert weights.sum() == pytest.approx(1)
    assert (weights[0] == 0) == (kind.clean is None)


def test_the_table_says_what_was_measured(found: Curves):
    text = render(replace(found, num_rows=24))
    for word in ("audio: babble", "clean", "−5", "area", "of 24", "--limit 0", "text: missing", "SNR = 10 log10"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


def test_files_and_json(one_modality: Path, tmp_path: Path, shell: Any):
    folder = own_copy(one_modality, tmp_path)
    words = ("explain", folder, "--curves", "--limit", 4, "--seed", 3)
    code, out, err = shell(*words)
    assert (code, err) == (0, "")
    assert "4 samples of 16 (drawn with seed 3" in " ".join(out.split())
    written = json.loads((folder / "explain" / "test-curves.json").read_text(encoding="utf-8"))
    assert (written["n"], written["num_rows"], written["seed"]) == (4, 16, 3)
    has_picture = (folder / "explain" / "test-curves.png").exists()
    assert has_picture == (importlib.util.find_spec("matplotlib") is not None)
    code, out, _ = shell(*words, "--json")
    again = json.loads(out)
    assert again.pop("run") == str(folder)
    assert again == written, "the same seed gives the same curves"


def test_without_matplotlib_there_is_no_picture_and_it_is_said(
    one_modality: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    folder = own_copy(one_modality, tmp_path)
    for module in ("plait.api", "plait.explain"):
        monkeypatch.setattr(f"{module}.can_plot", lambda: False)
    code, out, _ = shell("explain", folder, "--curves", "--limit", 2)
    assert code == 0
    assert "pip install 'plait[plot]'" in out
    assert [path.name for path in (folder / "explain").iterdir()] == ["test-curves.json"]


def test_a_run_of_one_modality_has_its_curves_only(one_modality: Path):
    found = loss_alone(one_modality).curves(limit=6, write=False)
    assert {curve.kind.modality for curve in found.curves} == {"audio"}
    assert [curve.kind.name for curve in found.curves] == ["white noise", "babble", "missing"]


def test_without_modality_dropout_it_is_said(without_dropout: Path, found: Curves):
    notes = loss_alone(without_dropout).curves(limit=3, write=False).notes
    assert [note.split()[0] for note in notes if "never dropped" in note] == ["text", "image", "audio"]
    assert not [note for note in found.notes if "never dropped" in note]


def rows_of(model: Any) -> tuple[Path, list[dict[str, Any]]]:
    path = Path(model.run.config.data.manifest)
    return path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_modality_that_no_sample_has_and_a_silent_clip_are_noted(with_dropout: Path):
    model = loss_alone(with_dropout)
    path, rows = rows_of(model)
    soundfile.write(path.parent / "silent.wav", np.zeros(4_000), 16_000)
    for row in rows:
        if row["split"] == "test":
            row.pop("image", None)
    silent = next(row for row in rows if row["split"] == "test" and "audio" in row)
    silent["audio"] = "silent.wav"
    mine = path.parent / "no_pictures.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = model.curves(limit=0, manifest=mine, write=False)
    assert {curve.kind.modality for curve in found.curves} == {"text", "audio"}
    text = " ".join(render(found).split())
    assert "image: no sample of split 'test' has it, so it has no curve" in text
    assert f"white noise: 1 sample ({silent['id']}): is silent" in text
    assert f"babble: 1 sample ({silent['id']}): is silent" in text


def test_scores_of_the_loss_alone(with_dropout: Path):
    """Where no metric of texts is asked for, nothing is generated and the loss is the score."""
    found = loss_alone(with_dropout).curves(limit=4, write=False)
    assert {next(iter(lines)) for curve in found.curves for lines in curve.segments.values()} == {"bits_per_token"}
    text = render(found)
    assert "bits/token" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--limit", 5), "--limit: only curves take a limit"),
        (("--curves", "--fail-if-unused", "audio"), "--fail-if-unused: says nothing of curves"),
        (("--curves", "--split", "tset"), "'tset'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: tuple[object, ...], message: str, with_dropout: Path, shell: Any
):
    code, out, err = shell("explain", with_dropout, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_run_without_inputs_and_a_negative_limit_are_refused(with_dropout: Path):
    model = plait.load(with_dropout)
    with pytest.raises(plait.UserError, match="a limit of -1 samples"):
        model.curves(limit=-1, write=False)
    model.run.config = model.run.config.model_copy(
        update={"data": model.run.config.data.model_copy(update={"inputs": ()})}
    )
    with pytest.raises(plait.UserError, match="reads no inputs"):
        model.curves(write=False)


def test_a_split_without_targets_is_refused(with_dropout: Path, monkeypatch: pytest.MonkeyPatch):
    model = plait.load(with_dropout)
    dataset = model.dataset()
    bare = replace(dataset, samples=[replace(s, references=()) for s in dataset.samples])
    monkeypatch.setattr(model, "dataset", lambda manifest: bare)
    with pytest.raises(plait.UserError, match="no target in split 'test'"):
        model.curves(write=False)
