import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning.modules.metrics import summarise


def predictions(predicted: list[int], classes: int) -> Tensor:
    """Logits whose largest entries are `predicted`."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.rand(len(predicted), classes, generator=generator)
    logits[torch.arange(len(predicted)), torch.tensor(predicted)] += 1
    return logits


def counted(predicted: list[int], labels: list[int], label: int) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of one class."""
    both = list(zip(predicted, labels, strict=True))
    hits = sum(p == label and t == label for p, t in both)
    return hits, predicted.count(label) - hits, labels.count(label) - hits


CASES = {
    "mixed": ([0, 1, 2, 2, 1, 0, 0, 2, 1, 1], [0, 1, 1, 2, 1, 2, 0, 2, 0, 1], 3),
    "all right": ([0, 1, 2], [0, 1, 2], 3),
    "all wrong": ([1, 2, 0], [0, 1, 2], 3),
    "one picture": ([1], [1], 3),
    "class that occurs nowhere": ([0, 1, 1], [0, 0, 1], 4),
    "class among the answers alone": ([0, 2, 1], [0, 0, 1], 3),
    "class among the labels alone": ([0, 0, 1], [0, 2, 1], 3),
}


@pytest.mark.parametrize(("predicted", "labels", "classes"), CASES.values(), ids=CASES.keys())
def test_metrics_agree_with_counting(predicted: list[int], labels: list[int], classes: int) -> None:
    logits = predictions(predicted, classes)
    measured = summarise(logits, torch.tensor(labels))
    count = len(labels)
    accuracy = sum(p == t for p, t in zip(predicted, labels, strict=True)) / count
    assert measured["images"] == count
    assert measured["accuracy"] == accuracy
    assert measured["accuracy_standard_error"] == math.sqrt(accuracy * (1 - accuracy) / count)
    occurring = sorted({*predicted, *labels})
    f1, recall = [], []
    for label in occurring:
        hits, alarms, misses = counted(predicted, labels, label)
        f1.append(2 * hits / (2 * hits + alarms + misses))
        recall.append(hits / (hits + misses) if hits + misses else 0.0)
    assert measured["macro_f1"] == pytest.approx(sum(f1) / len(occurring), abs=1e-6)
    assert measured["macro_recall"] == pytest.approx(sum(recall) / len(occurring), abs=1e-6)
    for true in range(classes):
        for prediction in range(classes):
            cell = sum(p == prediction and t == true for p, t in zip(predicted, labels, strict=True))
            assert measured["confusion"][true][prediction] == cell


def test_a_thousand_classes_take_little_memory() -> None:
    labels = torch.arange(15_000) % 1000
    torch.use_deterministic_algorithms(True)  # with it, torchmetrics asks for 120 GB
    try:
        measured = summarise(torch.nn.functional.one_hot(labels, 1000), labels)
    finally:
        torch.use_deterministic_algorithms(False)
    assert measured["macro_f1"] == measured["macro_recall"] == 1.0
    assert [row[number] for number, row in enumerate(measured["confusion"])] == [15] * 1000


def test_loss_is_the_mean_of_negative_log_probabilities() -> None:
    logits, labels = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]]), [1, 2]
    expected = []
    for row, label in zip(logits.tolist(), labels, strict=True):
        expected.append(math.log(sum(map(math.exp, row))) - row[label])
    assert summarise(logits, torch.tensor(labels))["loss"] == pytest.approx(sum(expected) / 2, abs=1e-6)


def test_metrics_of_half_precision_logits_are_computed_in_float32() -> None:
    logits, labels = predictions([0, 1, 2, 1], 3), torch.tensor([0, 1, 1, 1])
    half = logits.bfloat16()
    assert summarise(half, labels) == summarise(half.float(), labels)


def test_standard_error_of_the_papers_test_set() -> None:
    """93.1 % of 3,926 pictures: 0.40 points (METHODS, section 1.7)."""
    right = round(0.931 * 3926)
    predicted = [0] * right + [1] * (3926 - right)
    measured = summarise(predictions(predicted, 3), torch.zeros(3926, dtype=torch.long))
    assert measured["accuracy_standard_error"] == pytest.approx(0.0040, abs=5e-5)
