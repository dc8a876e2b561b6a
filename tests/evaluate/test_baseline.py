"""The best constant answer: chosen on training targets only, by the metric itself."""

import pytest

from plait.evaluate.baseline import best_constant
from plait.evaluate.metrics import Accuracy, Bleu, WordErrorRate


def targets(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"answer": text}] for text in texts]


def test_accuracy_takes_the_most_frequent_answer_after_folding() -> None:
    train = targets("Red.", "blue", "red", "blue!", "RED", "green")
    assert best_constant(Accuracy(), train, "answer", num_candidates=20, seed=0) == "Red."


def test_accuracy_counts_a_target_once_whatever_its_references() -> None:
    train = [[{"answer": "no"}, {"answer": "no"}, {"answer": "no"}], [{"answer": "yes"}], [{"answer": "yes"}]]
    assert best_constant(Accuracy(), train, "answer", num_candidates=20, seed=0) == "yes"


def test_word_error_rate_takes_the_reference_that_is_near_to_all() -> None:
    """The most frequent one is far from the others, the second is near to all of them."""
    train = targets(*["x y z w"] * 3, *["a b c d"] * 2, "a b c e", "a b f d", "a g c d", "h b c d")
    assert best_constant(WordErrorRate(), train, "answer", num_candidates=20, seed=0) == "a b c d"
    assert best_constant(WordErrorRate(), train, "answer", num_candidates=1, seed=0) == "x y z w"


def test_many_targets_are_drawn_by_seed() -> None:
    train = targets(*(f"a b c d {i}" for i in range(600)))
    once = best_constant(Bleu(), train, "answer", num_candidates=3, seed=0)
    assert once == best_constant(Bleu(), train, "answer", num_candidates=3, seed=0)


@pytest.mark.parametrize("train", [[], [[]], [[{"heard": "a"}]]])
def test_no_training_target_no_constant(train: list[list[dict[str, str]]]) -> None:
    assert best_constant(Accuracy(), train, "answer", num_candidates=20, seed=0) is None
