"""Trained models against the truth: two fair bits, one typed and one in a picture, and an answer that follows from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from plait.explain import Explanation
from tiny_data import draw, tiny_tree

GAMES: dict[str, tuple[Callable[[int, int], int], list[tuple[int, int]], float, float, float]] = {
    "redundant": (lambda a, b: a, [(0, 0), (1, 1)], 0.5, 0.5, -1.0),
    "unique": (lambda a, b: a, list(product((0, 1), repeat=2)), 1.0, 0.0, 0.0),
    "xor": (lambda a, b: a ^ b, list(product((0, 1), repeat=2)), 0.5, 0.5, 1.0),
}
"""The answer, the combinations that occur, the credit of text and of image, and their interaction, in bits."""


def explained(folder: Path, answer: Callable[[int, int], int], combinations: list[tuple[int, int]]) -> Explanation:
    """A model trained on the game, and what each modality brings to it."""
    import plait
    from plait.config import make_config

    pictures = [draw(folder / f"{colour}.png", colour) for colour in ("red", "blue")]
    rows = [
        {
            "id": f"{split}{number}",
            "split": split,
            "text": ("left", "right")[a],
            "image": pictures[b],
            "target": {"answer": ("no", "yes")[answer(a, b)]},
        }
        for split, size in (("train", 64), ("tune", 32), ("test", 32))
        for number, (a, b) in enumerate(combinations * (size // len(combinations)))
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(folder / "manifest.jsonl", fusion={"kind": "product", "at": 1})
    tree["train"] |= {
        "steps": 250,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "modality_dropout": 0.3,
        "evaluate_every": None,
    }
    return plait.train(make_config(tree), folder / "run").explain()


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_a_trained_model_shows_the_truth(game: str, tmp_path: Path):
    answer, combinations, text, image, interaction = GAMES[game]
    (found,) = explained(tmp_path, answer, combinations).segments
    tokens = found.num_tokens / found.num_samples
    assert found.credits["text"].per_sample.value == pytest.approx(text, abs=0.06)
    assert found.credits["image"].per_sample.value == pytest.approx(image, abs=0.06)
    (pair,) = found.interactions
    assert pair.pair is not None
    assert pair.pair.value is not None
    assert tokens * pair.pair.value == pytest.approx(interaction, abs=0.1)
