import copy
import io
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum import memory
from relatum.losses import CRD
from relatum.losses.crd import EPS, _contrast
from relatum.types import Fault
from tests.losses.numbers import randn, wave

SAMPLES, LABELS = 20, torch.arange(20) % 4
OWN = torch.tensor([3, 10, 6, 17])


def build(seed: int = 0, /, **changes: Any) -> CRD:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"num_samples": SAMPLES, "labels": LABELS, "dim": 3, "negatives": 5}
    return CRD(6, 5, **{**settings, **changes}).double()


def batch(seed: int = 0, rows: int = 4) -> tuple[Tensor, Tensor]:
    return randn(rows, 6, seed=seed).requires_grad_(), randn(rows, 5, seed=seed + 1000)


def step(loss: CRD, seed: int = 0, indices: Tensor = OWN) -> tuple[Tensor, Tensor]:
    """The value and the student's gradient."""
    student, teacher = batch(seed, len(indices))
    value = loss(student, teacher, indices)
    value.backward()
    assert student.grad is not None
    return value.detach(), student.grad


def candidates(loss: CRD, own: Tensor = OWN) -> Tensor:
    """What the next step will compare with."""
    return torch.cat([own[:, None], memory.draw(own, loss.negatives, loss.key, LABELS)], dim=1)


def projected(loss: CRD, seed: int = 0) -> tuple[Tensor, Tensor]:
    student, teacher = batch(seed)
    return (
        F.normalize(loss.student_head(student), dim=1).detach(),
        F.normalize(loss.teacher_head(teacher), dim=1).detach(),
    )


def naive_side(rows: Tensor, bank: Tensor, places: Tensor, constant: float | None) -> Any:
    """The equation, a candidate at a time; and the normaliser of a first step."""
    scores = [
        [math.exp(float(row @ bank[place]) / 0.07) for place in own.tolist()]
        for row, own in zip(rows, places, strict=True)
    ]
    if constant is None:
        constant = SAMPLES * sum(map(sum, scores)) / sum(map(len, scores))
    total, noise = 0.0, (places.shape[1] - 1) / SAMPLES
    for own_score, *others in scores:
        ratio = own_score / constant
        total -= math.log(ratio / (ratio + noise + EPS))
        for score in others:
            total -= math.log(noise / (score / constant + noise + EPS))
    return total / len(rows), constant


def test_published_settings() -> None:
    loss = CRD(64, 256, num_samples=20_000)
    assert loss.student_memory.shape == loss.teacher_memory.shape == (20_000, 128)
    assert (loss.negatives, loss.temperature, loss.momentum) == (16384, 0.07, 0.5)


def test_first_banks_are_uniform_and_about_of_length_one() -> None:
    loss = CRD(6, 5, num_samples=5000, dim=32, negatives=5)
    for bank in (loss.student_memory, loss.teacher_memory):
        assert bank.abs().max() <= 1 / math.sqrt(32 / 3)
        assert float(bank.norm(dim=1).mean()) == pytest.approx(1, abs=0.01)
    assert not torch.equal(loss.student_memory, loss.teacher_memory)


def test_equals_naive_loops_over_steps() -> None:
    loss = build()
    constants: list[float | None] = [None, None]
    for seed in range(3):
        places, banks = candidates(loss), (loss.teacher_memory, loss.student_memory)
        sides = [
            naive_side(rows, bank.clone(), places, constant)
            for rows, bank, constant in zip(projected(loss, seed), banks, constants, strict=True)
        ]
        constants = [constant for _, constant in sides]
        value, _ = step(loss, seed)
        assert value.item() == pytest.approx(sum(side for side, _ in sides), rel=1e-12)
    assert float(loss.student_normaliser) == pytest.approx(constants[0], rel=1e-12)
    assert float(loss.teacher_normaliser) == pytest.approx(constants[1], rel=1e-12)


def test_recorded_value_of_one_side() -> None:
    """With 20 samples and 4 negatives, of ratios that are given (methods.md, 5.1)."""
    ratios = wave((2, 5), 0.0).abs() + 0.1
    value, _ = _contrast(ratios.log(), torch.ones((), dtype=torch.float64), 1 / 20)
    assert value.item() == pytest.approx(6.64198243, abs=1e-8)


def test_slope_is_the_derivative_and_negatives_push_away() -> None:
    loss = build().eval()
    loss.fixed.fill_(True)  # as it is from the first training step on
    loss.student_normaliser.fill_(40.0)
    loss.teacher_normaliser.fill_(70.0)
    student, teacher = batch()
    assert torch.autograd.gradcheck(lambda each: loss(each, teacher, OWN), student)
    _, slope = _contrast(randn(3, 6), torch.tensor(40.0, dtype=torch.float64), 1 / 20)
    assert (slope[:, 0] < 0).all()
    assert (slope[:, 1:] > 0).all()


def test_banks_follow_the_batch_after_the_comparison() -> None:
    loss = build()
    before = {name: buffer.clone() for name, buffer in loss.named_buffers()}
    student, teacher = projected(loss)
    step(loss)
    for name, rows in (("student_memory", student), ("teacher_memory", teacher)):
        wanted = before[name].clone()
        wanted[OWN] = F.normalize(0.5 * wanted[OWN] + 0.5 * rows, dim=1)
        torch.testing.assert_close(loss.get_buffer(name), wanted)


def test_the_backward_pass_may_wait_until_the_banks_have_moved() -> None:
    loss, twin = build(), build()
    values = [loss(*batch(seed), OWN) for seed in range(3)]
    torch.stack(values).sum().backward()  # type: ignore[no-untyped-call]
    for seed in range(3):
        step(twin, seed)
    for parameter, other in zip(loss.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)


def test_a_sample_that_comes_twice_is_remembered_alike_in_any_order() -> None:
    own = torch.tensor([3, 10, 3, 17])
    one, other = build(), build()
    student, teacher = batch()
    order = torch.tensor([2, 0, 3, 1])
    value = one(student, teacher, own)
    torch.testing.assert_close(other(student[order], teacher[order], own[order]), value)
    torch.testing.assert_close(one.student_memory, other.student_memory)


def test_negatives_have_other_classes_and_change_with_every_step() -> None:
    loss = build()
    first = candidates(loss)
    assert not (LABELS[first[:, 1:]] == LABELS[OWN][:, None]).any()
    step(loss)
    assert not torch.equal(candidates(loss), first)
    free = build(labels=None, negatives=19)
    step(free)
    assert torch.equal(free.key, build(labels=None).key + 1)


def test_given_negatives_are_used() -> None:
    loss, twin = build(), build()
    value, gradient = step(loss)
    given, same = step(twin, indices=candidates(build()))
    torch.testing.assert_close(given, value)
    torch.testing.assert_close(same, gradient)
    assert torch.equal(twin.key, build().key), "nothing was drawn"


def test_evaluation_moves_nothing_and_repeats_itself() -> None:
    loss = build().eval()
    one, other = (loss(*batch(), OWN) for _ in range(2))
    assert torch.equal(one, other)
    assert not loss.fixed


def test_the_first_training_step_fixes_the_normalisers() -> None:
    loss = build()
    step(loss)
    fixed = loss.student_normaliser.clone(), loss.teacher_normaliser.clone()
    assert loss.fixed
    step(loss, seed=5)
    assert (loss.student_normaliser, loss.teacher_normaliser) == fixed


def test_a_checkpoint_goes_on_as_it_would_have() -> None:
    loss = build()
    step(loss)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other = build(9)
    other.load_state_dict(torch.load(file))
    for seed in (1, 2):
        torch.testing.assert_close(step(other, seed), step(loss, seed), rtol=0, atol=0)


def test_the_seed_alone_chooses_the_negatives() -> None:
    assert torch.equal(build(0, seed=4).key, build(1, seed=4).key)
    assert not torch.equal(build(seed=4).key, build(seed=5).key)
    assert torch.equal(build(0).key, build(0).key)
    assert not torch.equal(build(0).key, build(1).key)
    for wrong in (-1, 2**31):
        with pytest.raises(Fault, match="from 0 to"):
            build(seed=wrong)


def test_labels_are_its_own_and_not_saved() -> None:
    labels = LABELS.clone()
    loss = build(labels=labels)
    labels.zero_()
    assert loss.labels is not None
    assert torch.equal(loss.labels, LABELS)
    assert "labels" not in loss.state_dict()


def test_given_indices_must_have_all_negatives() -> None:
    with pytest.raises(Fault, match=r"\(B,\) or \(B, 6\), got \(4, 7\)"):
        build()(*batch(), torch.zeros(4, 7, dtype=torch.long))


@pytest.mark.parametrize("temperature", [0.001, 1000.0])
def test_any_temperature_is_finite(temperature: float) -> None:
    loss = build(temperature=temperature).float()
    for seed in range(2):
        student, teacher = batch(seed)
        value = loss(student.float(), teacher.float(), OWN)
        value.backward()
        assert value.isfinite()
        assert all(each.grad.isfinite().all() for each in loss.parameters())  # type: ignore[union-attr]


def test_both_heads_learn_and_the_loss_falls() -> None:
    loss = build()
    before = copy.deepcopy(loss.state_dict())
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(*batch(), OWN)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-10:]) < sum(values[:10])
    for head in ("student_head.weight", "teacher_head.weight"):
        assert not torch.equal(before[head], loss.state_dict()[head])
