"""Accuracies against counting by hand."""

import pytest
import torch

from relatum.evaluate import accuracy, agreement, kept
from relatum.types import Fault


def test_accuracy_equals_a_naive_count() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, 10, generator=generator)
    labels = torch.randint(10, (300,), generator=generator)
    ranks = [
        sum(float(other) > float(row[label]) for other in row)
        for row, label in zip(logits, labels, strict=True)
    ]
    found = accuracy(logits, labels)
    assert found["top1"] == pytest.approx(100 * sum(rank == 0 for rank in ranks) / 300)
    assert found["top5"] == pytest.approx(100 * sum(rank < 5 for rank in ranks) / 300)
    assert 0 < found["top1"] < found["top5"] < 100


@pytest.mark.parametrize(("classes", "names"), [(5, {"top1"}), (6, {"top1", "top5"})])
def test_five_on_top_need_more_than_five_classes(classes: int, names: set[str]) -> None:
    assert set(accuracy(torch.eye(classes), torch.arange(classes))) == names


def test_half_precision_and_other_integers_do() -> None:
    assert accuracy(torch.eye(3).half(), torch.arange(3, dtype=torch.int32)) == {"top1": 100.0}


def test_rows_of_nan_are_wrong() -> None:
    logits = torch.full((4, 6), torch.nan)
    assert accuracy(logits, torch.zeros(4, dtype=torch.long)) == {"top1": 0.0, "top5": 0.0}
    assert agreement(logits, logits) == 0.0


def test_agreement_counts_equal_choices_right_or_wrong() -> None:
    student = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [5.0, 1.0, 0.0], [0.0, 1.0, 0.5]])
    teacher = torch.tensor([[1.0, 0.9, 0.0], [0.0, 9.0, 2.0], [0.1, 0.0, 0.0], [0.0, 1.0, 0.5]])
    assert agreement(student, teacher) == 75.0
    assert agreement(-2 * student, -student) == 100.0


def test_kept_is_a_percentage_of_the_teachers() -> None:
    assert kept(57.48, 60.72) == pytest.approx(94.664, abs=1e-3)
    assert kept(91.0, 90.0) > 100
    for bad in (0.0, float("nan")):
        with pytest.raises(Fault, match="above zero"):
            kept(50.0, bad)


def test_faults_say_what_came() -> None:
    with pytest.raises(Fault, match="go from 0 to 9, the logits have 4 classes"):
        accuracy(torch.zeros(10, 4), torch.arange(10))
    with pytest.raises(Fault, match="go from -1"):
        accuracy(torch.zeros(2, 4), torch.tensor([-1, 0]))
    with pytest.raises(Fault, match=r"3 labels .* came \[2\]"):
        accuracy(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long))
    with pytest.raises(Fault, match="judged by linear_probe"):
        accuracy(torch.zeros(3, 1, 28, 28), torch.zeros(3, dtype=torch.long))
    with pytest.raises(Fault, match=r"\[3, 4\] and \[3, 5\]"):
        agreement(torch.zeros(3, 4), torch.zeros(3, 5))
