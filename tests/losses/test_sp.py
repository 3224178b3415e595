import pytest
import torch
from torch import Tensor

from relatum import relations
from relatum.losses import SP
from relatum.types import Fault
from tests.losses.numbers import randn, rotation, table, wave


def row_cosines(student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = student.flatten(1), teacher.flatten(1)
    return torch.cosine_similarity(student @ student.T, teacher @ teacher.T, dim=1)


def test_equals_a_naive_loop() -> None:
    student, teacher = randn(5, 3), randn(5, 4, seed=1)

    def similarity(samples: Tensor) -> list[list[float]]:
        rows = [[float(a @ b) for b in samples] for a in samples]
        return [[entry / sum(e * e for e in row) ** 0.5 for entry in row] for row in rows]

    pairs = zip(similarity(student), similarity(teacher), strict=True)
    total = sum((s - t) ** 2 for rows in pairs for s, t in zip(*rows, strict=True))
    assert float(SP()(student, teacher)) == pytest.approx(total / 25, rel=1e-12)


def test_recorded_table() -> None:
    student, teacher = table()
    assert float(SP()(student, teacher)) == pytest.approx(0.1267707, abs=1e-7)
    assert float(SP(batch_invariant=True)(student, teacher)) == pytest.approx(0.3803122, abs=2e-7)


def test_recorded_maps() -> None:
    maps = wave((4, 3, 2, 2), 0), wave((4, 5, 2, 2), 0.5)
    assert float(SP()(*maps)) == pytest.approx(0.10485533, abs=6e-9)
    assert float(SP(batch_invariant=True)(*maps)) == pytest.approx(0.20971067, abs=6e-9)


@pytest.mark.parametrize("batch", [2, 7, 64])
def test_is_the_mean_row_cosine(batch: int) -> None:
    student, teacher = randn(batch, 8, 2, 2), randn(batch, 6, 3, 3, seed=1)
    apart = 1 - row_cosines(student, teacher).mean()
    torch.testing.assert_close(SP()(student, teacher), 2 / batch * apart)
    torch.testing.assert_close(SP(batch_invariant=True)(student, teacher), apart)


def test_batch_invariant_is_half_the_batch_times_as_much() -> None:
    student, teacher = randn(16, 8), randn(16, 6, seed=1)
    torch.testing.assert_close(
        SP(batch_invariant=True)(student, teacher), SP()(student, teacher) * 16 / 2
    )


def test_batch_invariant_does_not_change_when_samples_repeat() -> None:
    student, teacher = randn(8, 4), randn(8, 6, seed=1)
    once, twice = (SP(batch_invariant=True)(student.repeat(n, 1), teacher.repeat(n, 1))
                   for n in (1, 2))  # fmt: skip
    torch.testing.assert_close(once, twice)


def test_bounds() -> None:
    student, teacher = randn(12, 5), randn(12, 6, seed=1)
    assert 0 < SP()(student, teacher) <= 4 / 12
    assert SP()(student.relu(), teacher.relu()) <= 2 / 12


def test_rotation_and_global_scale_do_not_matter() -> None:
    teacher = randn(8, 3, 2, 2)
    turned = (teacher.flatten(1) @ rotation(12)).view(8, 12, 1, 1)
    assert float(SP()(turned, teacher)) == pytest.approx(0, abs=1e-15)
    student = randn(8, 5, seed=1)
    torch.testing.assert_close(SP()(17 * student, teacher), SP()(student, teacher))


def test_scale_of_one_sample_and_translation_matter() -> None:
    student, teacher = randn(8, 5), randn(8, 6, seed=1)
    plain = SP()(student, teacher)
    scaled = student.clone()
    scaled[2] *= 3
    assert abs(SP()(scaled, teacher) - plain) > 0.01 * plain
    assert abs(SP()(student + 1, teacher) - plain) > 0.01 * plain


def test_rows_are_unit_in_the_euclidean_norm() -> None:
    similarity = relations.unit(relations.gram(randn(8, 5)))
    torch.testing.assert_close(
        torch.linalg.vector_norm(similarity, dim=1), torch.ones(8, dtype=torch.float64)
    )
    assert (similarity.abs().sum(1) > 1.1).all(), "rows of length one in the L1 norm are a bug"


def test_teachers_part_is_not_the_students() -> None:
    student, teacher = randn(8, 5), randn(8, 5, seed=1)
    scaled = teacher.clone()
    scaled[0] *= 5
    assert SP()(student, scaled) != SP()(student, teacher)


def test_several_layers_are_summed() -> None:
    students = randn(6, 4, 2, 2), randn(6, 8, seed=1)
    teachers = randn(6, 9, seed=2), randn(6, 3, 2, 2, seed=3)
    alone = [SP()(student, teacher) for student, teacher in zip(students, teachers, strict=True)]
    torch.testing.assert_close(SP()(students, teachers), alone[0] + alone[1])
    with pytest.raises(Fault, match="one to one"):
        SP()(students, teachers[:1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_large_maps_in_half_precision(dtype: torch.dtype) -> None:
    """The Gram entries overflow float16: resnet32x4's last map, 256×8×8, at deviation 4."""
    student = (4 * randn(32, 256, 8, 8).relu()).to(dtype)
    teacher = (4 * randn(32, 256, 8, 8, seed=1).relu()).to(dtype)
    exact = SP()(student.double(), teacher.double())
    with torch.autocast("cpu", dtype=dtype):
        loss = SP()(student, teacher)
    assert float(student.float().flatten(1).square().sum(1).max()) > 65504
    assert float(loss) == pytest.approx(float(exact), rel=1e-4)
