"""A modality that nobody in `src` knows goes the whole way: from `init` to a report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import plait
from modalities.melody import registered
from plait.cli.app import app

RISING, FALLING = [[60, 1], [64, 1], [67, 2]], [[67, 1], [64, 1], [60, 0.5], [55, 1]]


@pytest.fixture(scope="module", autouse=True)
def melody() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Melodies that rise or fall, with a hint in some of the rows; one of them is of one pitch."""
    folder = tmp_path_factory.mktemp("melodies")
    rows = []
    for k in range(36):
        notes = [[pitch + k % 5, beats] for pitch, beats in (RISING if k % 2 else FALLING)]
        row = {"id": f"m{k}", "melody": notes, "target": "up" if k % 2 else "down"}
        row |= {"split": "test" if k % 6 == 5 else "tune" if k % 6 == 4 else "train"}
        row |= {"text": "it goes up" if k % 2 else "it goes down"} if k % 3 else {}
        rows.append(row)
    rows[0]["melody"] = [[60, 1], [60, 1]]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A run that `plait train` made of what `plait init` wrote."""
    command("init", folder, "--out", folder / "run.yaml")
    options = [
        "width=16",
        "train.steps=40",
        "train.batch_size=8",
        "train.learning_rate=3e-3",
        "train.modality_subsets=0.5",
    ]
    options += ["train.evaluate_every=20", "train.alignment={weight: 0.1}", "data.prepare.melody.augment.transpose=1"]
    command("train", folder / "run.yaml", "--out", folder / "run", *options)
    return folder / "run"


def command(*words: object) -> str:
    """What a command prints; it must end well."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, f"{words}: {result.output}"
    return result.stdout


def test_init_names_the_input(folder: Path, run: Path):
    assert "melody" in (folder / "run.yaml").read_text(encoding="utf-8")
    config = plait.load(run).run.config
    assert config.inputs == {"text": "text", "melody": "melody"}
    assert config.encoder_of("melody").model_dump()["kind"] == "notes"
    assert config.data.options_of("melody").model_dump() == {"max_notes": 64, "augment": {"transpose": 1}}


def test_data_check_looks_at_it(folder: Path):
    found = CliRunner().invoke(app, ["data", "check", str(folder / "manifest.jsonl"), "--json"])
    report = json.loads(found.stdout)
    assert any(one["code"] == "melody-constant" or "one pitch" in one["text"] for one in report["findings"])
    assert any("melody" in one["name"] for one in report["histograms"])
    rows = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    bad = folder / "bad.jsonl"
    bad.write_text("\n".join([*rows[1:], json.dumps({**json.loads(rows[0]), "melody": "la la"})]), encoding="utf-8")
    found = CliRunner().invoke(app, ["data", "check", str(bad)])
    assert found.exit_code != 0
    assert "is no melody" in " ".join(found.output.split())


def test_it_is_evaluated_and_explained(run: Path):
    assert "answer" in command("evaluate", run) or "target" in command("evaluate", run)
    explained = json.loads(command("explain", run, "--json"))
    assert "melody" in json.dumps(explained["segments"][0]["credits"])
    assert "note 1" in command("explain", run, "--sample", "m5")


def test_it_is_damaged_for_curves(run: Path):
    curves = json.loads(command("explain", run, "--curves", "--json"))
    assert {curve["kind"]["name"] for curve in curves["curves"] if curve["kind"]["modality"] == "melody"} == {
        "flattened",
        "missing",
    }


def test_it_is_searched(run: Path, folder: Path):
    found = json.loads(command("search", run, "up", "--in", folder / "manifest.jsonl", "--of", "melody", "--json"))
    assert found


def test_it_is_asked(run: Path):
    model = plait.load(run)
    given = model.generate(melody=RISING)
    assert given.segments == model.generate(inputs={"melody": RISING}).segments
    shown = command("generate", run, "--input", f"melody={json.dumps(RISING)}").strip()
    assert shown in ("up", "down", given.segments["target"])
    with pytest.raises(plait.UserError, match="is no melody"):
        model.generate(melody="la la")


def test_a_report_shows_it(run: Path):
    command("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert re.search(r"\d\d/1 \d\d/1 \d\d/2", page), "the notes of an example"
    assert "melody" in page


def test_its_features_are_cached(run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    options = ["encoders.freeze=[melody]", "encoders.cache=[melody]", f"encoders.start_from={{melody: {run}}}"]
    said = command("train", folder / "run.yaml", "--out", tmp_path / "frozen", "width=16", "train.steps=4", *options)
    assert "melodies encoded" in said, said
    assert "melody" in command("cache")


def test_it_is_compared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In processes of its own, which find the modality by the name of its module."""
    (tmp_path / "tunes.py").write_bytes((Path(__file__).parent / "melody.py").read_bytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.jsonl").write_bytes((folder / "manifest.jsonl").read_bytes())
    inputs = "{tune: tunes:Melody, hint: text}"
    data = f"{{manifest: manifest.jsonl, inputs: {inputs}, columns: {{tune: melody, hint: text}}}}"
    text = f"data: {data}\nencoders: {{tune: {{kind: notes}}}}\n"
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    said = command(
        "compare",
        tmp_path / "run.yaml",
        *(
            "--arms",
            "fusion.kind=concat,sum",
            "--seeds",
            "1",
            "--folder",
            tmp_path / "compared",
            "--price-seconds",
            "0",
        ),
        *("width=16", "train.steps=6", "train.batch_size=8"),
    )
    assert "tune only" in said
    command("report", tmp_path / "compared")
