import copy
import math
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import RRD
from relatum.losses.rrd import PRESETS
from relatum.types import Fault
from tests.losses.numbers import randn

YEARS = sorted(PRESETS)


def build(**changes: Any) -> RRD:
    settings: dict[str, Any] = {"student_dim": 6, "teacher_dim": 5, "dim": 4, "queue_size": 12}
    return RRD(**{**settings, **changes}).double()


def batch(seed: int, rows: int = 4) -> tuple[Tensor, Tensor]:
    return randn(rows, 6, seed=seed), randn(rows, 5, seed=seed + 1000)


def projected(loss: RRD, teacher: Tensor) -> Tensor:
    return F.normalize(loss.teacher_head(teacher), dim=1).detach()


def test_published_settings() -> None:
    loss = RRD(64, 64)
    assert loss.queue.shape == (16384, 128)
    assert (loss.student_temperature, loss.teacher_temperature) == (0.1, 0.02)
    assert loss.enqueue == "before"


@pytest.mark.parametrize(
    ("year", "student", "teacher", "enqueue"),
    [("2024", 0.04, 0.10, "after"), ("2025", 0.10, 0.02, "before")],
)
def test_presets(year: str, student: float, teacher: float, enqueue: str) -> None:
    loss = RRD.preset(year, 6, 5, queue_size=8)
    assert (loss.student_temperature, loss.teacher_temperature) == (student, teacher)
    assert loss.enqueue == enqueue
    assert len(loss.queue) == 8
    assert RRD.preset(year, 6, 5, queue_size=8, enqueue="before").enqueue == "before"


def test_unknown_preset() -> None:
    with pytest.raises(Fault, match="2024, 2025"):
        RRD.preset("2023", 6, 5)


def test_first_queue_has_unit_rows() -> None:
    torch.testing.assert_close(build().queue.norm(dim=1), torch.ones(12, dtype=torch.float64))
    assert not torch.equal(build().queue, build().queue), "the queue starts at random"


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("rows", [1, 4, 5, 12, 29])
def test_queue_is_the_last_of_the_teacher_in_order(year: str, rows: int) -> None:
    loss = build(**PRESETS[year])
    seen = []
    for seed in range(13):
        student, teacher = batch(seed, rows)
        loss(student, teacher)
        seen.append(projected(loss, teacher))
    start = int(loss.pointer)
    assert start == 13 * rows % 12
    oldest_first = torch.cat([loss.queue[start:], loss.queue[:start]])
    torch.testing.assert_close(oldest_first, torch.cat(seen)[-12:])


@pytest.mark.parametrize("year", YEARS)
def test_gradient_is_the_difference_of_chances(year: str) -> None:
    """By the student's similarities S to the queue: (P_S - P_T) / (tau_s B)."""
    loss = build(**PRESETS[year])
    student, teacher = batch(0)
    student.requires_grad_()
    before = loss.queue.clone()
    loss(student, teacher).backward()
    queue = before if loss.enqueue == "after" else loss.queue
    own, target = F.normalize(loss.student_head(student), dim=1), projected(loss, teacher)
    apart = (own @ queue.T / loss.student_temperature).softmax(1)
    apart = apart - (target @ queue.T / loss.teacher_temperature).softmax(1)
    wanted = apart / (loss.student_temperature * len(student))
    (gradient,) = torch.autograd.grad(own @ queue.T, student, wanted.detach())
    torch.testing.assert_close(student.grad, gradient)


def test_a_certain_teacher_makes_it_infonce() -> None:
    """With the batch in the queue, each sample's class is its own place."""
    loss = build(teacher_temperature=1e-4)
    student, teacher = batch(0)
    value = loss(student, teacher)
    logits = F.normalize(loss.student_head(student), dim=1) @ loss.queue.T / 0.1
    torch.testing.assert_close(value, F.cross_entropy(logits, torch.arange(4)))
    assert float(loss.teacher_peak) == pytest.approx(1)
    assert float(loss.teacher_entropy) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("temperature", [0.02, 0.1])
def test_the_slope_of_a_certain_teacher_is_no_rounding_noise(temperature: float) -> None:
    """A softmax of one row has next to no slope; an optimiser would make much of its rounding."""
    settings: dict[str, Any] = {"student_dim": 32, "teacher_dim": 32, "queue_size": 2048}
    exact = build(**settings, dim=64, teacher_head="trainable", teacher_temperature=temperature)
    rough = copy.deepcopy(exact).float()
    student, teacher = randn(16, 32), randn(16, 32, seed=1)
    exact(student, teacher).backward()
    rough(student.float(), teacher.float()).backward()
    for name in ("student_head.weight", "teacher_head.weight"):
        wanted, have = (loss.get_parameter(name).grad for loss in (exact, rough))
        assert wanted is not None
        assert have is not None
        assert torch.dist(have, wanted) < 1e-4 * wanted.norm(), name


def test_least_is_the_entropy_of_the_teacher() -> None:
    """By Gibbs: reached where the student's contrasts are the teacher's."""
    loss = build(dim=5, teacher_head="identity", student_dim=5, teacher_temperature=0.1)
    torch.nn.init.eye_(loss.student_head.weight)
    torch.nn.init.zeros_(loss.student_head.bias)
    _, teacher = batch(0)
    student = (3 * teacher).requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(float(loss.teacher_entropy), rel=1e-9)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-9


@pytest.mark.parametrize(("enqueue", "known"), [("before", True), ("after", False)])
def test_the_sample_itself_is_in_the_queue(enqueue: str, known: bool) -> None:
    loss = build(enqueue=enqueue, teacher_temperature=1e-4)
    student, teacher = batch(0)
    before = loss.queue.clone()
    loss(student, teacher)
    seen = loss.queue if known else before
    nearest = (projected(loss, teacher) @ seen.T).amax(1)
    assert bool((nearest > 1 - 1e-9).all()) is known


def test_entropy_of_an_indifferent_teacher() -> None:
    loss = build(teacher_temperature=1e6)
    loss(*batch(0))
    assert float(loss.teacher_entropy) == pytest.approx(math.log(12), rel=1e-6)
    assert float(loss.teacher_peak) == pytest.approx(1 / 12, rel=1e-4)


def test_frozen_head_never_moves() -> None:
    loss = build()
    before = [parameter.clone() for parameter in loss.teacher_head.parameters()]
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1, weight_decay=0.1)
    loss(*batch(0)).backward()
    optimizer.step()
    assert all(parameter.grad is None for parameter in loss.teacher_head.parameters())
    assert all(map(torch.equal, before, loss.teacher_head.parameters()))


def test_trainable_head_learns_through_the_target() -> None:
    loss = build(teacher_head="trainable", teacher_temperature=0.1)
    student, teacher = batch(0)
    before = loss.queue.clone()
    loss.eval()(student, teacher).backward()
    own = F.normalize(loss.student_head(student), dim=1) @ before.T / 0.1
    target = F.normalize(loss.teacher_head(teacher), dim=1) @ before.T / 0.1
    wanted = -(target.softmax(1) * own.log_softmax(1)).sum(1).mean()
    (gradient,) = torch.autograd.grad(wanted, loss.get_parameter("teacher_head.weight"))
    assert gradient.abs().max() > 1e-4
    torch.testing.assert_close(loss.get_parameter("teacher_head.weight").grad, gradient)


def test_identity_head_has_no_parameters() -> None:
    loss = build(dim=5, teacher_head="identity")
    student, teacher = batch(0)
    loss(student, teacher)
    assert not list(loss.teacher_head.parameters())
    torch.testing.assert_close(loss.queue[:4], F.normalize(teacher, dim=1))


@pytest.mark.parametrize("year", YEARS)
def test_evaluation_leaves_the_queue(year: str) -> None:
    loss = build(**PRESETS[year])
    loss(*batch(0))
    state = {name: value.clone() for name, value in loss.named_buffers()}
    loss.eval()
    first, second = loss(*batch(1)), loss(*batch(1))
    assert first == second
    assert all(torch.equal(state[name], value) for name, value in loss.named_buffers())


@pytest.mark.parametrize("year", YEARS)
def test_a_saved_loss_goes_on_where_it_was(year: str) -> None:
    loss, twin = build(**PRESETS[year]), build(**PRESETS[year])
    for seed in range(4):
        loss(*batch(seed, rows=5))
    assert {"queue", "pointer", "student_head.weight", "teacher_head.weight"} <= set(
        loss.state_dict()
    )
    twin.load_state_dict(loss.state_dict())
    for seed in range(4, 8):
        torch.testing.assert_close(twin(*batch(seed)), loss(*batch(seed)), rtol=0, atol=0)


@pytest.mark.parametrize("teacher_head", ["frozen", "trainable", "identity"])
@pytest.mark.parametrize("year", YEARS)
def test_no_step_is_kept_alive(year: str, teacher_head: str) -> None:
    loss = build(**PRESETS[year], teacher_head=teacher_head, dim=5)
    seen = []
    storage = loss.queue.data_ptr()
    for seed in range(100):
        student, teacher = batch(seed)
        value = loss(student.requires_grad_(), teacher.requires_grad_())
        seen += [weakref.ref(student), weakref.ref(teacher), weakref.ref(value)]
    del student, teacher, value
    assert not any(each() is not None for each in seen)
    assert loss.queue.data_ptr() == storage
    assert loss.queue.grad_fn is None
