import pytest
import torch
from torch import Tensor, nn

from relatum.losses import AB
from relatum.types import Fault
from tests.losses.numbers import randn, wave

Maps = tuple[Tensor, ...]


def naive(students: Maps, teachers: Maps, margin: float) -> float:
    total = 0.0
    for place, (student, teacher) in enumerate(zip(students, teachers, strict=True), start=1):
        hinge = 0.0
        for s, t in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
            if s > -margin and t <= 0:
                hinge += (s + margin) ** 2
            if s <= margin and t > 0:
                hinge += (s - margin) ** 2
        total += hinge * 2 ** (place - len(students))
    return total * 3 / (1000 * len(students[0]))


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_equals_a_naive_loop(margin: float) -> None:
    shapes = (2, 3, 4, 4), (2, 5, 2, 2), (2, 2, 2, 1)
    students = tuple(2 * randn(*shape, seed=seed) for seed, shape in enumerate(shapes))
    teachers = tuple(randn(*shape, seed=10 + seed).round() for seed, shape in enumerate(shapes))
    assert any((teacher == 0).any() for teacher in teachers), "zero does not fire"
    value = float(AB(margin=margin)(students, teachers))
    assert value == pytest.approx(naive(students, teachers, margin), rel=1e-12)


def test_recorded_maps() -> None:
    students = wave((2, 3, 2, 2), 0), wave((2, 3, 2, 2), 1)
    teachers = wave((2, 3, 2, 2), 0.5), wave((2, 3, 2, 2), 1.5)
    assert float(AB()(students, teachers)) == pytest.approx(0.00725956 + 0.01107891, abs=1e-8)
    last = AB()(students[1], teachers[1])
    assert float(last) == pytest.approx(0.01107891, abs=6e-9)


def test_how_strongly_the_teacher_fires_does_not_matter() -> None:
    student, teacher = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    torch.testing.assert_close(AB()(student, teacher), AB()(student, 100 * teacher))


def test_beyond_the_margin_on_the_right_side_nothing_is_asked() -> None:
    teacher = randn(2, 3, 4, 4)
    right = teacher.sign() * (1 + randn(2, 3, 4, 4, seed=1).abs())
    student = right.requires_grad_()
    value = AB()(student, teacher)
    value.backward()
    assert value == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0
    assert AB(margin=3.0)(student, teacher) > 0


def test_earlier_stages_count_half_as_much_each() -> None:
    student, teacher = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    quiet = 10 * teacher.sign()  # right by more than the margin
    alone = AB()(student, teacher)
    for place, factor in enumerate((0.25, 0.5, 1.0)):
        students = [student if each == place else quiet for each in range(3)]
        torch.testing.assert_close(AB()(tuple(students), (teacher,) * 3), factor * alone)


def test_the_batch_is_averaged_and_pixels_are_summed() -> None:
    student, teacher = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    one = AB()(student, teacher)
    torch.testing.assert_close(AB()(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)), one)
    torch.testing.assert_close(
        AB()(student.repeat(1, 1, 2, 1), teacher.repeat(1, 1, 2, 1)), 2 * one
    )


def test_connectors_stand_where_shapes_differ() -> None:
    loss = AB(((3, 4, 4), (6, 4, 4), (6, 2, 2)), ((3, 4, 4), (8, 4, 4), (6, 4, 4))).double()
    same, wider, larger = loss.connectors
    assert isinstance(same, nn.Identity)
    assert [type(each) for each in wider.children()] == [nn.Conv2d, nn.BatchNorm2d], "no ReLU"
    assert [type(each) for each in larger.children()] == [nn.ConvTranspose2d, nn.BatchNorm2d]
    students = randn(2, 3, 4, 4), randn(2, 6, 4, 4, seed=1), randn(2, 6, 2, 2, seed=2)
    teachers = randn(2, 3, 4, 4), randn(2, 8, 4, 4, seed=3), randn(2, 6, 4, 4, seed=4)
    connected = students[0], wider(students[1]), larger(students[2])
    torch.testing.assert_close(loss(students, teachers), AB()(connected, teachers))


def test_faults_name_what_is_wrong() -> None:
    with pytest.raises(Fault, match="as many maps of both networks, got 1 of the student and 0"):
        AB(student_shapes=((3, 4, 4),))
    with pytest.raises(Fault, match="margin must be positive, got -1"):
        AB(margin=-1)
    with pytest.raises(Fault, match="AB was built for 1 stages, got 2"):
        AB(((3, 4, 4),), ((3, 4, 4),))((randn(2, 3, 4, 4),) * 2, (randn(2, 3, 4, 4),) * 2)
    with pytest.raises(Fault, match="must have one shape"):
        AB()(randn(2, 3, 4, 4), randn(2, 5, 4, 4))
