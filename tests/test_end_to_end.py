"""The parts together: each fusion at each place with each language model, and whole runs from files to answers.

Every combination builds, or is refused with the reason; of each fusion, place and alignment one learns and writes with one language
model, so that every fusion meets each of them. A set of runs that covers every pair of choices that can touch each other goes the
whole way: files → training → record → answer → the same from the run's folder.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import random
import shutil
from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.api import TrainedModel
from plait.build import build_model
from plait.config import GenerateConfig, make_config
from plait.errors import UserError
from plait.evaluate import read_record
from plait.fusion import FUSIONS
from plait.fusion.combination import CombinationOptions
from plait.generate import generate
from plait.model import Model
from plait.train import fit
from plait.train.optimiser import build_optimiser
from plait.train.step import train_step
from tiny_data import COLOURS, draw, make_manifest, tiny_tree
from tiny_model import ENCODERS, READ, SEGMENTS, make_batch, make_tokenizer

TOKENIZER = make_tokenizer()
MIXED = [(True, True, True), (False, True, False), (True, False, True), (False, False, False)]
"""What the samples of a batch have of text, picture and sound."""

MODELS = ["transformer", "lstm", "gru", "rnn"]
KINDS = {member().kind: member for member in FUSIONS}
ALIGNING = [kind for kind, member in KINDS.items() if issubclass(member, CombinationOptions)]
OWN_ALIGNMENT = [kind for kind in KINDS if kind not in ALIGNING]
BEFORE_THE_TEXT = ["prefix", "resampler"]
"""Kinds without a place."""
NO_BLOCKS = {"layers": 0, "num_heads": 2, "dropout": 0}
SHALLOW = {**ENCODERS, "text": NO_BLOCKS, "audio": NO_BLOCKS}
PLACES = [0, 1, "last", 3]
"""The last one is beyond the two blocks."""


def fusion_cases() -> list[tuple[dict[str, Any], str]]:
    """Every fusion × place × alignment, with the reason why it is refused ('' where it is not)."""
    cases: list[tuple[dict[str, Any], str]] = []
    for kind, at, align in product(ALIGNING, PLACES, ["attend", "mean", "pool"]):
        cases.append(({"kind": kind, "at": at, "align": align}, beyond(at)))
    for kind, at, align in product(OWN_ALIGNMENT, PLACES, [None, "attend", "mean", "pool"]):
        options = {"kind": kind, "at": at} | ({"align": align} if align else {})
        reason = "brings its own alignment: leave `align` out" if align else beyond(at)
        if kind in BEFORE_THE_TEXT and at != 0:
            reason = "brings its own alignment|stands before the text, at the embeddings" if align else "leave `at` out"
        cases.append((options, reason))
    cases += [
        ({"kind": kind, "at": 1, "plain": True}, "") for kind, member in KINDS.items() if "plain" in member.model_fields
    ]
    cases += [({"kind": "cross_attention", "at": at}, "") for at in ("every", [0, 2])]
    cases.append(({"kind": "cross_attention", "at": []}, "no place is named"))
    return cases


def beyond(at: object) -> str:
    """Why a place is refused."""
    return r"place 3 does not exist: the language model has 2 blocks.*0 \(at the embeddings\) to 2" if at == 3 else ""


def named(case: object) -> str | None:
    """A case's name in the list of tests."""
    return "-".join(str(value) for value in case.values()) if isinstance(case, dict) else None


def built(fusion: dict[str, Any], lm: str) -> tuple[Model, Any]:
    """A model of width 16 and two blocks, and its configuration."""
    tree = {
        "data": {"manifest": "none"},
        "width": 16,
        "encoders": SHALLOW,
        "fusion": fusion,
        "lm": {"kind": lm, "layers": 2} | ({"num_heads": 2} if lm == "transformer" else {}),
        "train": {"steps": 4, "batch_size": 4, "learning_rate": 0.003, "warmup": 0, "dtype": "fp32"},
    }
    config = make_config(tree)
    return build_model(config, TOKENIZER, READ).model, config.train


def learners() -> list[tuple[dict[str, Any], str]]:
    """Every legal fusion with one language model, in turn, and as often as it takes for its kind to meet all of them."""
    found: list[tuple[dict[str, Any], str]] = []
    for kind in KINDS:
        cases = [fusion for fusion, refused in fusion_cases() if not refused and fusion["kind"] == kind]
        number = max(len(cases), len(MODELS))
        found += [(cases[k % len(cases)], MODELS[k % len(MODELS)]) for k in range(number)]
    return found


@pytest.mark.parametrize(("fusion", "refused"), fusion_cases(), ids=named)
def test_every_fusion_place_alignment_and_language_model(fusion: dict[str, Any], refused: str):
    for lm in MODELS:
        if refused:
            with pytest.raises(UserError, match=refused):
                built(fusion, lm)
        else:
            assert built(fusion, lm)[0].fusion is not None


def test_every_fusion_learns_with_every_language_model():
    met = {(fusion["kind"], lm) for fusion, lm in learners()}
    assert met == set(product(KINDS, MODELS))
    assert all(fusion in [one for one, _ in learners()] for fusion, refused in fusion_cases() if not refused)


@pytest.mark.parametrize(("fusion", "lm"), learners(), ids=named)
def test_every_legal_fusion_learns_and_writes(fusion: dict[str, Any], lm: str):
    batch = make_batch(TOKENIZER, MIXED)
    model, config = built(fusion, lm)
    model.train()
    optimiser = build_optimiser(model, config)
    steps = [
        train_step(model, optimiser, batch, config, seed=0, step=step, micro_batch_size=4, say=pytest.fail)
        for step in (1, 2)
    ]
    assert all(math.isfinite(step.loss) and step.gradient_norm > 0 for step in steps)
    assert steps[1].loss < steps[0].loss
    model.eval()
    for said in generate(model, TOKENIZER, batch, GenerateConfig(max_tokens=3)):
        assert tuple(said.segments) == SEGMENTS
        assert all(value <= 0 for value in said.log_probability.values())


AXES: dict[str, tuple[Any, ...]] = {
    "image": ("convnet", "resnet", "vit", "alexnet", "vgg"),
    "audio_stride": (4, 8),
    "audio_causal": (False, True),
    "text_causal": (False, True),
    "text_embedding": ("scratch", "word2vec", "glove"),
    "lm_embedding": ("scratch", "word2vec", "glove"),
    "tokenizer": ("word", "character", "bpe"),
    "lm": ("transformer", "lstm", "gru", "rnn"),
    "fusion": tuple(KINDS),
    "align": ("attend", "mean", "pool", None),
    "at": (0, 1, "last", None),
    "ctc": (False, True),
    "tie_weights": (False, True),
    "modality_dropout": (0.0, 0.3),
}
"""What a run chooses; None: the fusion has no such choice, or its own default is meant."""

MADE = ("image", "audio_stride", "audio_causal", "text_causal", "text_embedding", "lm_embedding", "tokenizer")
"""How features and vectors are made."""
FUSED = ("fusion", "align", "at")
"""Neither knows the other (imports say so): `Features` pass between them, whose contract every encoder and every fusion keeps."""
APART = {("image", axis) for axis in AXES if axis not in ("image", "modality_dropout")}
"""Picture encoders know no other part either, and are asked for the same: only the dropout of the modality meets them."""
PLACED = {*combinations(FUSED, 2), ("lm", "fusion")}
"""All of these pairs have learnt in `test_every_legal_fusion_learns_and_writes`."""

HEAVY = ("alexnet", "vgg")
LIGHT = {**AXES, "image": tuple(kind for kind in AXES["image"] if kind not in HEAVY)}

Choice = dict[str, Any]

TABLE = """
convnet 4 no  no  scratch  scratch  word      transformer concat          attend 1    no  no  0.0
convnet 8 yes yes word2vec glove    character lstm        product         mean   0    yes yes 0.3
convnet 4 yes no  glove    word2vec bpe       gru         attention       -      last yes no  0.3
convnet 8 no  yes scratch  scratch  word      rnn         prefix          -      -    no  yes 0.0
resnet  8 no  yes glove    scratch  word      lstm        cross_attention -      -    yes no  0.0
resnet  4 yes no  word2vec scratch  character transformer prefix          -      0    no  no  0.3
vit     4 no  yes scratch  word2vec word      gru         concat          pool   last no  yes 0.3
vit     8 yes no  scratch  glove    bpe       transformer product         attend 1    yes yes 0.0
alexnet 8 no  no  word2vec scratch  word      transformer cross_attention -      last no  no  0.0
vgg     4 yes yes glove    scratch  character rnn         attention       -      1    yes no  0.3
convnet 8 no  no  scratch  scratch  word      transformer sum             attend 1    no  no  0.3
convnet 4 no  yes scratch  glove    word      lstm        gated           mean   0    yes no  0.0
convnet 8 yes no  word2vec scratch  bpe       gru         film            pool   1    no  yes 0.3
convnet 8 no  no  scratch  scratch  character rnn         bilinear        attend last no  no  0.0
convnet 4 no  no  glove    scratch  word      transformer low_rank        mean   1    yes no  0.3
convnet 8 no  yes scratch  word2vec word      lstm        tensor          attend 0    no  no  0.3
convnet 8 no  no  scratch  scratch  word      transformer experts         attend 1    no  yes 0.3
vit     8 no  no  scratch  scratch  word      transformer pairwise        -      1    no  no  0.3
convnet 4 no  no  scratch  scratch  word      gru         bottleneck      -      last yes no  0.3
resnet  8 no  no  scratch  scratch  word      lstm        resampler       -      -    no  no  0.3
convnet 8 no  no  scratch  scratch  word      transformer late            -      1    no  no  0.3
convnet 8 no  no  scratch  scratch  word      lstm        late            -      0    no  yes 0.0
"""
"""The runs of the everyday test, a column per axis: every choice at least once (pairs of choices: the slow test)."""

WORDS = {"no": False, "yes": True, "-": None, "0": 0, "1": 1, "4": 4, "8": 8, "0.0": 0.0, "0.3": 0.3}


def table() -> list[Choice]:
    """The rows of `TABLE`."""
    rows = [[WORDS.get(word, word) for word in line.split()] for line in TABLE.strip().splitlines()]
    return [dict(zip(AXES, row, strict=True)) for row in rows]


def is_possible(choice: Mapping[str, Any]) -> bool:
    """Whether these choices, not necessarily all of them, go together."""
    fusion, align = choice.get("fusion"), choice.get("align", "any")
    if fusion in OWN_ALIGNMENT and align not in (None, "any"):
        return False
    if fusion in ALIGNING and align is None:
        return False
    return fusion not in BEFORE_THE_TEXT or choice.get("at") in (None, 0)


def pairs_of(choice: Choice) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    """All pairs of choices that a run tries."""
    return set(combinations(choice.items(), 2))


def possible_pairs() -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    """All pairs of choices of two axes that go together, of axes that can touch each other."""
    return {
        ((left, a), (right, b))
        for left, right in combinations(AXES, 2)
        if not (left in MADE and right in FUSED) and (left, right) not in PLACED | APART
        for a, b in product(AXES[left], AXES[right])
        if is_possible({left: a, right: b})
    }


@functools.cache
def covering() -> list[Choice]:
    """Runs that try every possible pair of choices: each one is the best of 60 drawn around a pair that still waits."""
    random_choice = random.Random(0)
    waiting, rows = possible_pairs(), []
    while waiting:
        first = min(waiting, key=str)
        drawn = []
        while len(drawn) < 60:
            choice = {axis: random_choice.choice(members) for axis, members in LIGHT.items()} | dict(first)
            if is_possible(choice):
                drawn.append(choice)
        rows.append(max(drawn, key=lambda choice: len(pairs_of(choice) & waiting)))
        waiting -= pairs_of(rows[-1])
    return rows


def row_id(choice: object) -> str | None:
    """A run's name in the list of tests."""
    return "-".join(str(value) for value in choice.values()) if isinstance(choice, dict) else None


def with_marks(choices: list[Choice], *, all_slow: bool = False) -> list[Any]:
    """The runs as parameters; large encoders are slow."""
    return [
        pytest.param(
            choice, id=row_id(choice), marks=[pytest.mark.slow] if all_slow or choice["image"] in HEAVY else []
        )
        for choice in choices
    ]


def tree_of(choice: Choice, manifest: Path) -> dict[str, Any]:
    """The configuration of a run."""
    fusion = {"kind": choice["fusion"], "align": choice["align"], "at": choice["at"]}
    tree = tiny_tree(
        manifest,
        fusion={key: value for key, value in fusion.items() if value is not None},
        lm={
            "kind": choice["lm"],
            "layers": 2,
            "tie_weights": choice["tie_weights"],
            "embedding": vectors(choice["lm_embedding"]),
        },
    )
    tree["data"]["tokenizer"] = {"kind": choice["tokenizer"]} | ({"size": 280} if choice["tokenizer"] == "bpe" else {})
    tree["encoders"]["image"] = {"kind": choice["image"]}
    tree["encoders"]["audio"] |= {"stride": choice["audio_stride"], "causal": choice["audio_causal"]}
    tree["encoders"]["text"] |= {"causal": choice["text_causal"], "embedding": vectors(choice["text_embedding"])}
    tree["train"] |= {
        "ctc": {"segment": "heard"} if choice["ctc"] else None,
        "modality_dropout": choice["modality_dropout"],
    }
    return tree


def vectors(kind: str) -> dict[str, Any]:
    """Word vectors, trained for a moment."""
    return {"kind": kind} | ({} if kind == "scratch" else {"epochs": 2})


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every subset of text, picture and sound; pictures of 28 and of 32 pixels."""
    folder = tmp_path_factory.mktemp("data")
    path = make_manifest(folder)
    for row in (0, 6, 12, 18):
        draw(folder / f"{row}.png", list(COLOURS)[row % 4], side=28)
    return path


def test_the_table_has_every_choice():
    for axis, members in AXES.items():
        assert {row[axis] for row in table()} == set(members), axis
    assert all(map(is_possible, table()))


def go_the_whole_way(choice: Choice, manifest: Path, folder: Path) -> None:
    """Train two steps, evaluate, answer, load again and answer the same."""
    if "word2vec" in choice.values() and importlib.util.find_spec("gensim") is None:
        pytest.skip("word2vec is trained by gensim")
    run, result = fit(make_config(tree_of(choice, manifest)), folder)
    assert result.step == 2
    model = TrainedModel(run)
    record = model.evaluate("test")
    assert record.summary.n == 4
    for segment in ("heard", "answer"):
        bits = record.summary.metrics[segment]["bits_per_token"].value
        assert bits is not None
        assert 0 < bits < 20
    assert read_record(next((folder / "records").glob("test*.parquet"))) == record
    inputs = {
        "text": "which colour, and which tone?",
        "image": manifest.parent / "0.png",
        "audio": manifest.parent / "0.wav",
    }
    again = plait.load(folder)
    for names in ((), ("text",), ("image", "audio"), ("text", "image", "audio")):
        given = {name: inputs[name] for name in names}
        said = model.generate(**given)
        assert tuple(said.segments) == ("heard", "answer")
        assert again.generate(**given) == said
    chosen = again.generate(**inputs, choices={"answer": ["red", "blue"]})
    assert chosen.segments["answer"] in ("red", "blue")
    assert again.evaluate("test", write=False).summary.metrics == record.summary.metrics
    shutil.rmtree(folder)  # the large encoders' weights would fill the disk


@pytest.mark.parametrize("choice", with_marks(table()))
def test_a_run_goes_the_whole_way(choice: Choice, manifest: Path, tmp_path: Path):
    go_the_whole_way(choice, manifest, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("choice", with_marks(covering(), all_slow=True))
def test_every_pair_of_choices_goes_the_whole_way(choice: Choice, manifest: Path, tmp_path: Path):
    go_the_whole_way(choice, manifest, tmp_path / "run")


def test_the_covering_set_has_every_pair():
    tried = set().union(*map(pairs_of, covering()))
    assert possible_pairs() <= tried


@pytest.fixture(scope="module")
def next_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a language model without inputs that has learnt its one text by heart."""
    folder = tmp_path_factory.mktemp("words")
    rows = [
        {"id": f"{row}", "split": ("train", "tune", "test")[row // 5], "target": "one two three. four five."}
        for row in range(12)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(folder / "texts.jsonl", lm={"kind": "lstm", "layers": 1})
    tree["train"] |= {"steps": 60, "learning_rate": 0.03, "evaluate_every": 60}
    tree["generate"] = {"max_tokens": 12}
    fit(make_config(tree), folder / "run")
    return folder / "run"


def test_next_words_are_evaluated_by_perplexity(next_words: Path):
    model = plait.load(next_words)
    assert model.run.modalities == ()
    figures = model.evaluate("test").summary.metrics["target"]
    perplexity, bits = figures["perplexity"].value, figures["bits_per_token"].value
    assert perplexity is not None
    assert bits is not None
    assert perplexity == pytest.approx(2**bits)
    assert 1 < perplexity < 2


def test_the_next_word_is_a_distribution(next_words: Path):
    model = plait.load(next_words)
    found = model.next_tokens(model.sample(), "one two", 5)
    assert len(found) == 5
    assert found[0][0] == "three"
    probabilities = [probability for _, probability in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0.5 < sum(probabilities) <= 1 + 1e-6


def test_a_text_is_continued_to_the_end_of_the_sentence_or_of_the_text(next_words: Path):
    model = plait.load(next_words)

    def says(**options: Any) -> str:
        (said,) = model.answer([model.sample()], **options)
        return said.segments["target"]

    assert says() == "one two three. four five."
    assert says(begun="one two", until="sentence") == "one two three."
    assert says(begun="one two") == "one two three. four five."


def test_two_steps_of_next_words(manifest: Path, tmp_path: Path):
    tree = tiny_tree(manifest)
    tree["data"]["inputs"] = []
    model = TrainedModel(fit(make_config(tree), tmp_path / "run").run)
    assert model.evaluate("test").summary.metrics["answer"]["perplexity"].value is not None
    with pytest.raises(UserError, match=r"this model does not read text\. It reads no inputs"):
        model.generate(text="which colour?")
