import math

import pytest
import torch

from relatum.losses import KD, LumiNet
from tests.losses.numbers import randn, softened, waves


def perceived(logits: torch.Tensor) -> torch.Tensor:
    columns = []
    for column in logits.T.tolist():
        mean = sum(column) / len(column)
        variance = sum((z - mean) ** 2 for z in column) / len(column)
        columns.append([(z - mean) / math.sqrt(variance + 1e-5) for z in column])
    return torch.tensor(columns, dtype=torch.float64).T


@pytest.mark.parametrize("warmth", [1.0, 8.0])
def test_equals_a_naive_loop(warmth: float) -> None:
    student, teacher = randn(6, 5), randn(6, 5, seed=1)
    rows = zip(*(softened(perceived(z), warmth) for z in (student, teacher)), strict=True)
    total = sum(b * math.log(b / a) for s, t in rows for a, b in zip(s, t, strict=True))
    assert float(LumiNet(warmth)(student, teacher)) == pytest.approx(total / 6, rel=1e-12)


def test_recorded_table() -> None:
    student, teacher, _ = waves()
    assert float(LumiNet()(student, teacher)) == pytest.approx(0.01489607, abs=6e-9)


def test_what_a_class_is_used_to_does_not_matter() -> None:
    student, teacher = 10 * randn(8, 5), 10 * randn(8, 5, seed=1)
    shift, stretch = 100 * randn(5, seed=2), 3 + randn(5, seed=3).abs()
    moved = LumiNet()(student * stretch + shift, teacher / stretch - shift)
    torch.testing.assert_close(moved, LumiNet()(student, teacher), rtol=1e-4, atol=0)
    assert KD()(student * stretch + shift, student) > 1


def test_who_else_is_in_the_batch_matters() -> None:
    student, teacher = randn(8, 5), randn(8, 5, seed=1)
    halves = [LumiNet()(student[half], teacher[half]) for half in (slice(0, 4), slice(4, 8))]
    assert abs(sum(halves) / 2 - LumiNet()(student, teacher)) > 1e-3


def test_one_sample_tells_nothing() -> None:
    student = randn(1, 5).requires_grad_()
    loss = LumiNet()(student, randn(1, 5, seed=1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert (student.grad == 0).all()
