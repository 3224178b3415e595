"""Neighbourhoods against naive loops."""

import pytest
import torch
from torch import Tensor

from relatum.evaluate import neighbours, ranking
from relatum.types import Fault


def pair(samples: int = 70) -> tuple[Tensor, Tensor]:
    """A student that says roughly what its teacher says, in fewer dimensions."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(samples, 9, generator=generator)
    return teacher[:, :6] + 0.3 * torch.randn(samples, 6, generator=generator), teacher


def nearest(rows: Tensor, count: int) -> list[list[int]]:
    """Of every sample, nearest first; the first of equals first."""
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    found = []
    for one in range(len(rows)):
        others = [
            (-round(float(unit[one] @ unit[other]), 9), other)
            for other in range(len(rows))
            if other != one
        ]
        found.append([other for _, other in sorted(others)[:count]])
    return found


def naive(student: Tensor, teacher: Tensor, count: int) -> dict[str, float]:
    pairs = list(zip(nearest(student, count), nearest(teacher, count), strict=True))
    shared = [len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in pairs]
    first = [theirs[0] in ours for ours, theirs in pairs]
    return {
        "neighbours": 100 * sum(shared) / len(shared),
        "nearest": 100 * sum(first) / len(first),
    }


@pytest.mark.parametrize("block", [2**22, 150])
@pytest.mark.parametrize("count", [1, 10])
def test_equals_naive_loops(block: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK", block)
    student, teacher = pair()
    found = neighbours(student, teacher, nearest=count)
    assert found == pytest.approx(naive(student, teacher, count))
    assert 5 < found["neighbours"] < 95
    assert found["neighbours"] <= found["nearest"] or count == 1


def test_a_student_that_tells_nothing_apart_gets_the_first_ones() -> None:
    _, teacher = pair(40)
    constant = torch.ones(40, 3)
    found = neighbours(constant, teacher)
    assert found == pytest.approx(naive(constant, teacher, 10))
    assert found["neighbours"] < 40


def test_whole_numbers_tie_and_count_as_in_the_loops() -> None:
    generator = torch.Generator().manual_seed(4)
    student, teacher = (
        torch.nn.functional.one_hot(torch.randint(4, (50,), generator=generator)).float()
        for _ in range(2)
    )
    assert neighbours(student, teacher) == pytest.approx(naive(student, teacher, 10))


def test_unrelated_networks_share_as_many_as_chance() -> None:
    generator = torch.Generator().manual_seed(3)
    one, other = (torch.randn(801, 8, generator=generator) for _ in range(2))
    assert neighbours(one, other)["neighbours"] == pytest.approx(100 * 10 / 800, abs=0.5)


def test_fewer_samples_than_neighbours() -> None:
    student, teacher = pair(4)
    assert neighbours(student, teacher) == {"neighbours": 100.0, "nearest": 100.0}


def test_half_precision_maps_and_gradients_are_taken() -> None:
    student, teacher = pair()
    maps = student.view(-1, 2, 3, 1).requires_grad_()
    assert neighbours(maps, teacher.bfloat16())["neighbours"] > 20


@pytest.mark.parametrize(
    ("student", "teacher", "says"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), "3 and 4"),
        (torch.ones(1, 2), torch.ones(1, 2), "two at least"),
        (torch.full((3, 2), torch.nan), torch.ones(3, 2), "student's features hold NaN"),
        (torch.ones(3, 2), torch.full((3, 2), torch.inf), "teacher's features hold NaN"),
    ],
)
def test_what_cannot_be_compared_is_refused(student: Tensor, teacher: Tensor, says: str) -> None:
    with pytest.raises(Fault, match=says):
        neighbours(student, teacher)
