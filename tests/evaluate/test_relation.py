"""Gaps and alignments against loops, identities and known limits."""

import math

import pytest
import torch
from torch import Tensor

from relatum import relations
from relatum.evaluate import cka, relation_gap
from relatum.types import Fault

KINDS = {"cosine", "gram", "distance", "gaussian"}


def features(samples: int = 40, dim: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, dim, generator=generator) + 0.5


def naive_matrix(kind: str, rows: list[list[float]]) -> list[list[float]]:
    count = len(rows)
    far = [[math.dist(one, other) for other in rows] for one in rows]
    pairs = count * (count - 1)
    mean = sum(value for row in far for value in row) / pairs
    mean_square = sum(value * value for row in far for value in row) / pairs

    def entry(i: int, j: int) -> float:
        dot = math.fsum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        if kind == "gram":
            return dot
        if kind == "cosine":
            return float(dot / (math.hypot(*rows[i]) * math.hypot(*rows[j])))
        if kind == "distance":
            return far[i][j] / mean
        return math.exp(-far[i][j] * far[i][j] / (2 * mean_square))

    return [[entry(i, j) for j in range(count)] for i in range(count)]


def naive_gap(kind: str, student: Tensor, teacher: Tensor) -> float:
    centred = []
    for network in (student, teacher):
        matrix = naive_matrix(kind, network.double().tolist())
        count = len(matrix)
        row = [sum(values) / count for values in matrix]
        column = [sum(values) / count for values in zip(*matrix, strict=True)]
        every = sum(row) / count
        centred.append(
            [matrix[i][j] - row[i] - column[j] + every for i in range(count) for j in range(count)]
        )
    one, other = centred
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return float(1 - dot / (math.hypot(*one) * math.hypot(*other)))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_gap_equals_naive_loops(kind: str) -> None:
    student, teacher = features(15, 3, seed=1), features(15, 5, seed=2)
    found = relation_gap(student, teacher)
    assert set(found) == KINDS
    assert found[kind] == pytest.approx(naive_gap(kind, student, teacher), abs=1e-9)


def test_gaps_are_those_of_the_losses_matrices() -> None:
    """Distances go another way here; a sample that occurs twice is where the ways could part."""
    student, teacher = (features(50, 40, seed=seed).double() + 3 for seed in (1, 2))
    student[7] = student[30]
    found = relation_gap(student, teacher)
    for kind, matrix in (("distance", relations.distance), ("gaussian", gaussian)):
        one, other = (relations.centred(matrix(rows)) for rows in (student, teacher))
        gap = 1 - (one * other).sum() / (one.norm() * other.norm())
        assert found[kind] == pytest.approx(float(gap), abs=1e-8)


def gaussian(rows: Tensor) -> Tensor:
    mean = relations.euclidean(rows).square().sum() / (len(rows) * (len(rows) - 1))
    return relations.gaussian(rows, 1 / (2 * mean))


def test_gap_ignores_scale_rotation_and_a_common_order() -> None:
    student, teacher = features(seed=1), features(seed=2)
    turn = torch.linalg.qr(features(6, 6, seed=3).double()).Q
    order = torch.randperm(40, generator=torch.Generator().manual_seed(4))
    wanted = relation_gap(student, teacher)
    for scale in (1e-200, 1e-12, 1e9, 1e200):
        same = (student.double() @ turn * scale)[order]
        assert relation_gap(same, teacher[order]) == pytest.approx(wanted, abs=1e-9)
        assert cka(same, teacher[order]) == pytest.approx(cka(student, teacher), abs=1e-9)
    assert relation_gap(student @ turn.float(), student) == pytest.approx(
        dict.fromkeys(KINDS, 0.0), abs=1e-6
    )


def test_all_but_cosines_ignore_a_shift_however_large() -> None:
    student, teacher = features(seed=1).double(), features(seed=2)
    wanted, found = relation_gap(student, teacher), relation_gap(student + 1e5, teacher)
    for kind in KINDS - {"cosine"}:
        assert found[kind] == pytest.approx(wanted[kind], abs=1e-9)
    assert cka(student + 1e5, teacher) == pytest.approx(1 - wanted["gram"], abs=1e-9)
    assert cka(student[:5] + 1e5, teacher[:5]) == pytest.approx(cka(student[:5], teacher[:5]))


def test_a_gap_is_symmetric_and_sees_another_order() -> None:
    student, teacher = features(seed=1), features(seed=2)
    assert relation_gap(student, teacher) == pytest.approx(relation_gap(teacher, student))
    assert min(relation_gap(student.flip(0), student).values()) > 0.5


def test_a_noisy_copy_is_near_and_an_unrelated_one_far() -> None:
    teacher = features(400, 8)
    gaps = []
    for noise in (0.0, 0.1, 0.5, 2.0):
        gaps.append(relation_gap(teacher + noise * (features(400, 8, seed=9) - 0.5), teacher))
    unrelated = relation_gap(features(400, 8, seed=7), teacher)
    for kind in KINDS:
        rising = [each[kind] for each in gaps]
        assert rising == sorted(rising)
        assert rising[0] == pytest.approx(0, abs=1e-12)
        assert rising[1] < 0.05
        assert 0.9 < unrelated[kind] <= 1


def test_activations_far_from_zero_do_not_look_alike() -> None:
    """Uncentred cosines of these are all above 0.99, for any two networks."""
    student, teacher = features(300, 8, seed=1) + 30, features(300, 8, seed=2) + 30
    assert min(relation_gap(student, teacher).values()) > 0.9


def test_unrelated_features_look_alike_when_dimensions_abound() -> None:
    """The trap that the docstring names: D / (D + N) of alignment for nothing."""
    for samples, dim in ((100, 300), (300, 100)):
        found = cka(features(samples, dim, seed=1), features(samples, dim, seed=2))
        assert found == pytest.approx(dim / (dim + samples), abs=0.03)


@pytest.mark.parametrize(("student", "teacher"), [(5, 3), (3, 5), (4, 60), (60, 70)])
def test_cka_is_the_centred_gram_alignment(student: int, teacher: int) -> None:
    one, other = features(30, student, seed=1), features(30, teacher, seed=2)
    assert cka(one, other) == pytest.approx(1 - naive_gap("gram", one, other), abs=1e-9)
    assert cka(one, other) == pytest.approx(1 - relation_gap(one, other)["gram"], abs=1e-9)
    assert cka(one, one) == pytest.approx(1)


def test_cka_ignores_a_shift_and_flattens_maps() -> None:
    one, other = features(30, 8, seed=1), features(30, 8, seed=2)
    assert cka(one + 5, other) == pytest.approx(cka(one, other), abs=1e-6)
    maps = one.view(30, 2, 2, 2)
    assert cka(maps, other) == cka(one, other)
    assert relation_gap(maps, other) == relation_gap(one, other)


@pytest.mark.parametrize(
    "constant",
    [
        torch.zeros(40, 4),
        torch.full((40, 4), 0.3),
        torch.full((40, 4), 0.3).half(),
        torch.full((40, 4), 0.3) * (1 + 1e-7 * torch.arange(40)[:, None].sign()),
    ],
)
def test_a_constant_student_has_no_relation(constant: Tensor) -> None:
    for pair in ((constant, features()), (features(), constant), (constant, constant)):
        assert relation_gap(*pair) == dict.fromkeys(KINDS, 1.0)
        assert cka(*pair) == 0.0


def test_one_direction_has_no_cosines_but_distances() -> None:
    ray = torch.linspace(1, 2, 40)[:, None] * torch.tensor([[0.3, 0.7, 0.1]])
    found = relation_gap(ray, features(seed=1))
    assert found["cosine"] == 1.0
    assert all(0 < found[kind] < 1 for kind in KINDS - {"cosine"})


def test_a_student_fallen_into_two_points_still_has_a_width() -> None:
    """Most of its pairs coincide, so the median of its distances is zero."""
    student = torch.zeros(40, 4)
    student[:8] = 1
    found = relation_gap(student, features(seed=1))
    assert all(0 < gap <= 1 for gap in found.values())


def test_faults_say_what_came() -> None:
    with pytest.raises(Fault, match="40 and 39"):
        relation_gap(features(40), features(39))
    broken = features()
    broken[3, 2] = torch.nan
    with pytest.raises(Fault, match="student's features hold NaN"):
        relation_gap(broken, features())
    with pytest.raises(Fault, match="teacher's features hold NaN"):
        cka(features(), broken)
