import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from relatum.losses import KDSVD
from relatum.losses.kdsvd import directions
from relatum.types import Fault
from tests.losses.numbers import randn, rotation, wave

Maps = tuple[Tensor, ...]
SHAPES = ((3, 5, 4, 4), (3, 8, 3, 2), (3, 4, 2, 2))
"""Fewer channels than pixels, more, and as many."""


def maps(*shapes: tuple[int, ...], seed: int = 0) -> Maps:
    return tuple(randn(*shape, seed=10 * seed + place) for place, shape in enumerate(shapes))


def vectors(sample: Tensor) -> Tensor:
    """Right singular vectors of pixels x channels, as rows, largest first, by the solver."""
    found: Tensor = torch.linalg.svd(sample.flatten(1).T, full_matrices=False).Vh
    return found


def chosen(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The directions of one sample in one layer."""
    target = vectors(teacher)[0]
    target = target * target.sum().sign()
    own = vectors(student)[:4]
    likeness = own @ target
    best = int(likeness.abs().argmax())
    return own[best] * likeness[best].sign(), target


def naive(students: Maps, teachers: Maps, width: float = 8.0) -> float:
    batch = len(students[0])
    total = 0.0
    for b, place in itertools.product(range(batch), range(len(students) - 1)):
        below, above = (chosen(students[each][b], teachers[each][b]) for each in (place, place + 1))
        relations = [
            [math.exp(-((x - y) ** 2) / width) for x in high.tolist() for y in low.tolist()]
            for low, high in zip(below, above, strict=True)
        ]
        total += sum((s - t) ** 2 for s, t in zip(*relations, strict=True))
    return total / batch


def test_equals_a_naive_loop_over_the_solvers_vectors() -> None:
    students, teachers = maps(*SHAPES), maps(*SHAPES, seed=1)
    for width in (8.0, 0.5):
        value = float(KDSVD(width=width)(students, teachers))
        assert value == pytest.approx(naive(students, teachers, width), rel=1e-9)


def test_recorded_maps() -> None:
    students = wave((2, 5, 4, 4), 0), wave((2, 6, 4, 4), 1)
    teachers = wave((2, 5, 4, 4), 0.5), wave((2, 6, 4, 4), 1.5)
    assert float(KDSVD()(students, teachers)) == pytest.approx(0.02653979, abs=6e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_are_singular_vectors(shape: tuple[int, ...]) -> None:
    (given,) = maps(shape)
    found = directions(given, 3)
    for sample, rows in zip(given, found, strict=True):
        cosines = (vectors(sample)[:3] * rows).sum(1).abs()
        torch.testing.assert_close(cosines, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
def test_their_gradient_is_that_of_the_solver_where_that_has_one(shape: tuple[int, ...]) -> None:
    given = maps(shape)[0].requires_grad_()
    toward = randn(3, 3, shape[1], seed=7)
    found = directions(given, 3)
    solved = torch.linalg.svd(given.flatten(2).mT, full_matrices=False).Vh[:, :3]
    signs = (found * solved).sum(2, keepdim=True).sign().detach()
    ours, theirs = (
        torch.autograd.grad((each * toward).sum(), given)[0] for each in (found, solved * signs)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


def test_signs_of_maps_and_turned_pixels_do_not_matter() -> None:
    students, teachers = maps(*SHAPES), maps(*SHAPES, seed=1)
    plain = KDSVD()(students, teachers)
    flipped = tuple(-each for each in students)
    torch.testing.assert_close(KDSVD()(flipped, teachers), plain)
    torch.testing.assert_close(KDSVD()(students, (-teachers[0], *teachers[1:])), plain)
    turned = tuple(
        (each.flatten(2) @ rotation(each[0, 0].numel())).view_as(each) for each in students
    )
    torch.testing.assert_close(KDSVD()(turned, teachers), plain)


def test_lengths_do_not_matter() -> None:
    students, teachers = maps(*SHAPES), maps(*SHAPES, seed=1)
    plain = KDSVD()(students, teachers)
    for factor in (1e-9, 1e9):
        scaled = tuple(factor * each for each in students)
        torch.testing.assert_close(KDSVD()(scaled, teachers), plain)


def test_the_most_like_of_the_candidates_is_chosen() -> None:
    """The teacher's first direction is the student's third."""
    basis = rotation(6)
    pixels = rotation(8, seed=1)[:, :6]
    student = (pixels * torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.2])) @ basis
    teacher = (pixels * torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.2])) @ basis[[2, 0, 1, 3, 4, 5]]
    student, teacher = (each.T.reshape(1, 6, 2, 4) for each in (student, teacher))
    pair = (student, student), (teacher, teacher)
    assert float(KDSVD()(*pair)) == pytest.approx(0, abs=1e-12)
    assert KDSVD(candidates=2)(*pair) > 1e-4


def gradients(students: Maps, teachers: Maps) -> tuple[Tensor, list[Tensor]]:
    own = [each.clone().requires_grad_() for each in students]
    value = KDSVD()(tuple(own), teachers)
    value.backward()
    return value.detach(), [each.grad for each in own if each.grad is not None]


def alike() -> Maps:
    """All singular values are one: no direction is more of a direction than another."""
    square = rotation(16)[:, :6].T.reshape(1, 6, 4, 4).repeat(2, 1, 1, 1)
    return square, square.roll(1, 1)


def flat() -> Maps:
    """Of rank one: all directions but the first are arbitrary."""
    return tuple(randn(2, 6, 1, 1, seed=seed) * randn(2, 1, 4, 4, seed=9) for seed in (0, 1))


def dead() -> Maps:
    """One sample without any energy."""
    first, second = maps((2, 6, 4, 4), (2, 6, 4, 4))
    return torch.cat([0 * first[:1], first[1:]]), second


@pytest.mark.parametrize("wrong", [alike, flat, dead])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_where_the_solvers_gradient_is_infinite_ours_is_not(
    wrong: Callable[[], Maps], dtype: torch.dtype
) -> None:
    usual = maps((2, 6, 4, 4), (2, 6, 4, 4), seed=3)
    odd: Maps = wrong()
    for students, teachers in ((odd, usual), (usual, odd), (odd, odd[::-1])):
        students, teachers = (tuple(each.to(dtype) for each in x) for x in (students, teachers))
        value, found = gradients(students, teachers)
        assert value.isfinite()
        assert len(found) == 2
        assert all(each.isfinite().all() for each in found)
        assert max(float(each.abs().max()) for each in found) < 100


def test_a_dead_map_has_no_direction() -> None:
    found = directions(dead()[0], 4)
    assert found[0].abs().max() == 0
    assert found[1].abs().max() > 0
    assert directions(flat()[0], 4)[:, 1:].abs().max() == 0, "rank one has one"


def test_what_is_not_finite_is_passed_on_not_hidden() -> None:
    """The solver would raise an error that names no term; a loss that is nan is found by `fit`."""
    students, teachers = maps(*SHAPES), maps(*SHAPES, seed=1)
    students[1][0, 0, 0, 0] = float("nan")
    assert KDSVD()(students, teachers).isnan()


def test_what_does_not_go_together_is_refused() -> None:
    students = maps(*SHAPES)
    with pytest.raises(Fault, match="KDSVD compares consecutive layers"):
        KDSVD()(students[:1], students[:1])
    with pytest.raises(Fault, match="layer 1 of 2 has 5 in the student and 8 in the teacher"):
        KDSVD()(students[:2], students[1::-1])
    with pytest.raises(Fault, match="candidates must be positive, got 0"):
        KDSVD(candidates=0)
