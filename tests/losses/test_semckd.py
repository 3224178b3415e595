import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from relatum.losses import SemCKD
from relatum.types import Fault
from tests.losses.contract import called
from tests.losses.numbers import randn
from tests.losses.test_contract import EDGES, STEEPEST

STUDENT = randn(8, 3, 4, 4), randn(8, 4, 2, 2, seed=1)
TEACHER = randn(8, 5, 4, 4, seed=2), randn(8, 2, 3, 3, seed=3), randn(8, 6, 2, 2, seed=4)


def made(batch: int = 8, **named: float) -> SemCKD:
    torch.manual_seed(0)
    return SemCKD((3, 4), (5, 2, 6), batch, **named).double()


def perceptron(layers: nn.Module, row: Tensor) -> Tensor:
    first, _, second = layers.children()
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    inner = [max(0.0, (w @ row + b).item()) for w, b in zip(first.weight, first.bias, strict=True)]
    outer = second.weight @ torch.tensor(inner, dtype=torch.float64) + second.bias
    return outer / outer.square().sum().sqrt()


def attention(loss: SemCKD, sample: int, stage: int) -> list[float]:
    """What one sample's stage of the student gives to each stage of the teacher."""

    def row(maps: Tensor) -> Tensor:
        return torch.stack([(maps[sample] * other).sum() for other in maps])

    query = perceptron(loss.queries[stage], row(STUDENT[stage]))
    keys = [perceptron(own, row(maps)) for own, maps in zip(loss.keys, TEACHER, strict=True)]
    scores = [math.exp((query @ key).item() / loss.temperature) for key in keys]
    return [score / sum(scores) for score in scores]


def pooled(maps: Tensor, size: int) -> Tensor:
    return nn.functional.adaptive_avg_pool2d(maps, size)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_equals_a_naive_loop(temperature: float) -> None:
    loss = made(temperature=temperature)
    total = 0.0
    for i, student in enumerate(STUDENT):
        for j, teacher in enumerate(TEACHER):
            size = min(student.shape[2], teacher.shape[2])
            projector = loss.projectors[i][j]  # type: ignore[index]
            apart = projector(pooled(student, size)) - pooled(teacher, size)
            for b in range(8):
                total += attention(loss, b, i)[j] * apart[b].square().mean().item()
    assert loss(STUDENT, TEACHER).item() == pytest.approx(total / (8 * 2), rel=1e-9)


def test_sizes_are_as_published() -> None:
    loss = SemCKD((3,), (5,), batch=64)
    shapes = {name: tuple(each.shape) for name, each in loss.named_parameters()}
    assert (shapes["queries.0.0.weight"], shapes["queries.0.2.weight"]) == ((32, 64), (16, 32))
    assert (shapes["keys.0.0.weight"], shapes["keys.0.2.weight"]) == ((32, 64), (16, 32))
    convolutions = [shape for shape in shapes.values() if len(shape) == 4]
    assert convolutions == [(10, 3, 1, 1), (10, 10, 3, 3), (5, 10, 1, 1)]


def test_alike_stages_get_equal_shares() -> None:
    """With equal keys the attention is uniform, so the loss is the mean over all pairs."""
    loss = SemCKD((3,), (5, 5), 8).double()
    loss.keys[1].load_state_dict(loss.keys[0].state_dict())
    student, teacher = randn(8, 3, 2, 2), randn(8, 5, 2, 2, seed=1)
    (row,) = loss.projectors
    assert isinstance(row, nn.ModuleList)
    apart = [(projector(student) - teacher).square().mean() for projector in row]
    torch.testing.assert_close(loss((student,), (teacher,) * 2), (apart[0] + apart[1]) / 2)


def test_gradient_reaches_the_student_through_the_attention_too() -> None:
    loss = made()
    for parameter in loss.projectors.parameters():
        nn.init.zeros_(parameter)  # the projected student is zero, whatever it says
    student = tuple(each.clone().requires_grad_() for each in STUDENT)
    gradients = torch.autograd.grad(loss(student, TEACHER), student)
    assert all(each.abs().sum() > 0 for each in gradients)


def test_gradcheck() -> None:
    loss = made().eval()
    parameters = dict(loss.named_parameters())

    def value(*values: Tensor) -> Tensor:
        own = dict(zip(parameters, values[2:], strict=True))
        result: Tensor = functional_call(loss, own, (values[:2], TEACHER))
        return result

    given = [*STUDENT, *parameters.values()]
    torch.autograd.gradcheck(
        value, [each.detach().clone().requires_grad_() for each in given], fast_mode=True
    )


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_finite(edge: str) -> None:
    for changes_student, changes_teacher in ((True, False), (False, True), (True, True)):
        student = tuple(EDGES[edge](s).to(s) if changes_student else s for s in STUDENT)
        teacher = tuple(EDGES[edge](t).to(t) if changes_teacher else t for t in TEACHER)
        outcome = called(made(), {"student": student, "teacher": teacher})
        for number in (outcome.value, *outcome.gradients.values(), *outcome.learned.values()):
            assert number is None or number.isfinite().all()
            assert number is None or number.abs().max() < STEEPEST


def test_traces_without_a_break() -> None:
    loss = made()
    twin = copy.deepcopy(loss)
    torch.compiler.reset()
    traced: Any = torch.compile(twin, fullgraph=True, backend="eager")
    for _ in range(2):
        inputs = {"student": STUDENT, "teacher": TEACHER}
        plain, compiled = (called(each, {**inputs}) for each in (loss, traced))
        torch.testing.assert_close(compiled.value, plain.value)
        torch.testing.assert_close(dict(compiled.gradients), dict(plain.gradients))


@pytest.mark.parametrize("training", [True, False])
def test_another_batch_is_refused_with_the_way_out(training: bool) -> None:
    loss = made().train(training)
    for rows in (1, 7, 9):
        student = tuple(randn(rows, *each.shape[1:]) for each in STUDENT)
        teacher = tuple(randn(rows, *each.shape[1:]) for each in TEACHER)
        with pytest.raises(Fault, match=f"batches of 8, got one of {rows}: give .* drop a last"):
            loss(student, teacher)
    with pytest.raises(Fault, match=r"built for \(2, 3\) stages of student and teacher"):
        loss(STUDENT, TEACHER[:2])
