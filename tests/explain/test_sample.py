"""`plait explain --sample`: hiding is what a mask says, shares lie over the right pieces, and every sample draws what it has."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import plait
from plait.api import TrainedModel
from plait.build import build_model
from plait.config import make_config
from plait.errors import UserError
from plait.evaluate.answerer import RunAnswerer
from plait.explain import SampleExplanation, explain_sample, find_sample, render_sample
from plait.explain.losses import BITS_PER_NAT
from plait.explain.sample_plot import plot_sample
from plait.explain.sample_result import file_name
from plait.explain.views import views_of, windows
from plait.fusion import FUSIONS
from plait.modalities.image.view import block_of
from plait.model import token_losses
from plait.run import Run
from plait.types import Features, Modality, Sample
from tiny_data import draw, sing

KINDS = [member.model_fields["kind"].default for member in FUSIONS]


@pytest.fixture
def whole(run: Run) -> Sample:
    """A sample that has all three inputs."""
    samples = TrainedModel(run).dataset().samples
    return next(s for s in samples if len(s.present) == 3 and len(s.references) == 1)


def evaluated(run: Run, sample: Sample) -> dict[str, float]:
    """What `plait evaluate` takes as the loss of each segment."""
    answerer = RunAnswerer(run)
    (batch,) = answerer.batches([sample], 1)
    return {name: bits for name, (bits, _) in answerer.token_losses(batch)[0].items()}


def test_all_hidden_of_a_modality_is_the_sample_without_it(run: Run, whole: Sample):
    found = explain_sample(run, whole)
    base = evaluated(run, whole)
    assert found.bits == pytest.approx(base, rel=1e-5)
    for modality in run.modalities:
        without = evaluated(run, whole.only(set(run.modalities) - {modality}))
        for segment in run.segments:
            assert found.without[modality][segment] == pytest.approx(without[segment] - base[segment], abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [4, 64])
def test_what_hiding_costs_is_the_longhand_difference(run: Run, whole: Sample, batch_size: int):
    found = explain_sample(run, whole, batch_size=batch_size)
    (batch,) = RunAnswerer(run).batches([whole], 1)
    features = run.model.encode(batch.inputs, 1)
    views = views_of(run, batch)

    def bits(given: dict[str, Features]) -> torch.Tensor:
        hidden = run.model.hidden(batch.tokens, run.model.condition(given))
        return token_losses(run.model.lm, hidden, batch.targets)[0].double() * BITS_PER_NAT

    base = bits(features)
    for view in found.views:
        modality = Modality(view.modality)
        for token, window in enumerate(windows(views[modality])):
            assert token in window
            mask = features[modality].mask.clone()
            mask[0, window] = False
            lost = bits({**features, modality: Features(features[modality].values, mask)}) - base
            for number, segment in enumerate(run.segments):
                expected = float(lost[batch.segments[0] == number].sum())
                assert view.needed[segment][token] == pytest.approx(expected, abs=1e-4)


def test_features_are_computed_once(run: Run, whole: Sample):
    calls: Counter[str] = Counter()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, encoder in run.model.encoders.items()
    ]
    explain_sample(run, whole, batch_size=2)
    for hook in hooks:
        hook.remove()
    assert calls == dict.fromkeys(("text", "image", "audio"), 2)  # once to answer, once to explain


def check_views(run: Run, found: SampleExplanation) -> None:
    """Every piece has its number, for every measure and segment."""
    for view in found.views:
        assert int(np.prod(view.grid)) == len(view.labels)
        for measure in (view.attention, view.needed) if found.attention else (view.needed,):
            assert set(measure) == set(run.segments)
            assert {len(values) for values in measure.values()} == {len(view.labels)}
        for segment, shares in view.attention_by_word.items():
            assert len(shares) == len(found.words[segment])
            np.testing.assert_allclose(np.mean(shares, axis=0), view.attention[segment])
    if found.attention == "each":
        for modality in found.inputs:
            of = [view for view in found.views if view.modality == modality]
            for segment in run.segments:
                assert sum(sum(view.attention[segment]) for view in of) == pytest.approx(1, abs=1e-5)
    if found.attention == "joint":
        for segment in run.segments:
            total = sum(sum(view.attention[segment]) for view in found.views) + found.elsewhere[segment]
            assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("present", [("text", "image", "audio"), ("image",)])
def test_every_fusion_explains_whatever_a_sample_has(run: Run, whole: Sample, kind: str, present: tuple[str, ...]):
    tree = run.config.model_dump(mode="json")
    config = make_config({**tree, "fusion": {"kind": kind}})
    model = build_model(config, run.tokenizer, run.modalities).model.eval()
    other = Run(run.folder, config, run.tokenizer, model)
    found = explain_sample(other, whole.only({Modality(name) for name in present}))
    assert found.inputs == present
    assert (found.attention is None) == (kind == "prefix")
    check_views(other, found)
    shown = render_sample(found)
    assert ("not known: a prefix" in " ".join(shown.split())) == (kind == "prefix")
    assert max(map(len, shown.splitlines())) <= 80


def test_pieces_lie_where_they_are_in_the_input(run: Run, whole: Sample):
    found = explain_sample(run, whole)
    by_modality = {view.modality: view for view in found.views}
    assert by_modality["text"].labels[:2] == ("which", "colour")
    image = by_modality["image"]
    assert image.grid == (4, 4)
    assert image.labels[6] == "row 2 col 3"
    assert image.raw is not None
    wanted = np.asarray(Image.open(whole.image[0]).convert("RGB"))
    np.testing.assert_allclose(image.raw.astype(int), wanted, atol=2)
    sound = by_modality["audio"]
    assert sound.seconds[0][1] == pytest.approx(0.08)
    assert sound.seconds[0][0] == 0
    assert all(
        left[1] == pytest.approx(right[0]) for left, right in zip(sound.seconds, sound.seconds[1:], strict=False)
    )
    assert sound.raw is not None
    assert sound.seconds[-1][1] == pytest.approx(len(sound.raw) / 100)


def test_a_cell_is_hidden_with_those_around_it():
    assert block_of(0, (4, 4)) == [0, 1, 4, 5]
    assert block_of(5, (4, 4)) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert block_of(11, (3, 4)) == [6, 7, 10, 11]


def test_several_pictures_are_told_apart(run: Run, whole: Sample, tmp_path: Path):
    draw(tmp_path / "other.png", "white")
    found = explain_sample(run, replace(whole, image=(*whole.image, tmp_path / "other.png", whole.image[0])))
    pictures = [view for view in found.views if view.modality == "image"]
    assert [view.name for view in pictures] == ["image", "image 2", "image 3"]
    assert pictures[1].raw is not None
    assert pictures[1].raw.min() > 100
    check_views(run, found)
    plot_sample(found, tmp_path)


def test_without_a_target_it_is_the_models_own_answer(run: Run, whole: Sample):
    found = explain_sample(run, replace(whole, references=()))
    assert found.from_answer
    assert found.target == found.answer
    given = explain_sample(run, replace(whole, references=(dict(found.answer),)))
    assert found.views[0].needed == given.views[0].needed
    assert "no target" in " ".join(render_sample(found).split())


def test_a_sample_without_inputs_is_refused(run: Run, whole: Sample):
    with pytest.raises(UserError, match=r"no input that this model reads.*It reads text, image, audio"):
        explain_sample(run, whole.only(()))


@pytest.mark.parametrize("id", ["a/b", "../x", "ü ü", "x" * 300, "a\nb", ".", "CON.", "a:b"])
def test_odd_ids_get_safe_names_of_their_own(id: str):
    name = file_name(id)
    assert name.startswith("sample-")
    assert len(name) < 90
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not name.endswith(".")
    assert name != file_name(id + " ")
    assert file_name("row-3.a") == "sample-row-3.a"


def test_an_unknown_id_is_told_with_the_nearest(run: Run):
    samples = TrainedModel(run).dataset().samples
    with pytest.raises(UserError, match=r"no sample 'row_1' among 48 rows of test, train, tune. Nearest: row1"):
        find_sample(samples, "row_1")
    with pytest.raises(UserError, match=r"no sample 'row0' among 16 rows of train. It is in split test"):
        find_sample(samples, "row0", "train")
    with pytest.raises(UserError, match="Ids are like row0"):
        find_sample(samples, "#######", "test")
    assert find_sample(samples, "row0", "test").id == "row0"


def test_the_command_writes_numbers_and_a_picture(
    with_dropout: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("matplotlib")
    folder = Path(shutil.copytree(with_dropout, tmp_path / "run"))
    code, out, err = shell("explain", folder, "--sample", "row0")
    assert (code, err) == (0, "")
    for word in ("heard:", "its own answer", "all hidden of", "looked at in", "needed of", "sample-row0.png"):
        assert word in out
    data = json.loads((folder / "explain" / "sample-row0.json").read_text(encoding="utf-8"))
    assert data["inputs"] == ["text", "image", "audio"]
    assert all("raw" not in view for view in data["views"])
    picture = np.asarray(Image.open(folder / "explain" / "sample-row0.png").convert("L"))
    assert picture.std() > 10
    monkeypatch.setattr("plait.api.can_plot", lambda: False)  # drawn once is enough
    code, out, _ = shell("explain", folder, "--sample", "row0", "--json")
    assert json.loads(out)["views"] == data["views"]


def test_without_matplotlib_there_are_the_numbers(
    with_dropout: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(with_dropout, tmp_path / "run"))
    for module in ("plait.api", "plait.explain"):
        monkeypatch.setattr(f"{module}.can_plot", lambda: False)
    code, out, _ = shell("explain", folder, "--sample", "row1")
    assert code == 0
    assert "sample-row1.json" in out
    assert "pip install 'plait[plot]'" in out
    assert [path.name for path in (folder / "explain").iterdir()] == ["sample-row1.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sample", "row999"], "Nearest: row"),
        (["--sample", "row0", "--split", "train"], "It is in split test"),
        (["--sample", "row0", "--split", "tset"], "'tset'"),
        (["--sample", "row7"], "no input that this model reads"),
        (["--sample", "row0", "--fail-if-unused", "image"], "does not go with"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(
    words: list[str], message: str, with_dropout: Path, tmp_path: Path, shell: Any
):
    folder = Path(shutil.copytree(with_dropout, tmp_path / "run"))
    code, out, err = shell("explain", folder, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (folder / "explain").exists()


def test_rows_of_another_manifest_need_no_target(with_dropout: Path, tmp_path: Path):
    sing(tmp_path / "new.wav", "low")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "new", "audio": "new.wav"}) + "\n", encoding="utf-8")
    found = plait.load(with_dropout).explain_sample("new", manifest=tmp_path / "rows.jsonl", write=False)
    assert found.from_answer
    assert found.inputs == ("audio",)
