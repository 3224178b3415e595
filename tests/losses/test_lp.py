import math

import pytest
import torch
from torch import Tensor

from relatum.losses import LP
from tests.losses.numbers import randn, rotation, table


def naive(student: Tensor, teacher: Tensor, neighbours: int, sigma: float) -> float:
    total = 0.0
    for i in range(len(student)):
        apart = [
            (float((teacher[i] - teacher[j]).square().sum()), j)
            for j in range(len(student))
            if j != i
        ]
        for squared, j in sorted(apart)[:neighbours]:
            weight = math.exp(-squared / sigma**2)
            total += weight * float((student[i] - student[j]).square().sum())
    return total / neighbours


@pytest.mark.parametrize(
    ("neighbours", "sigma", "wanted"), [(2, 1, 3.820025), (5, 1, 1.551377), (5, 2, 5.934373)]
)
def test_recorded_table(neighbours: int, sigma: float, wanted: float) -> None:
    loss = LP(neighbours, sigma)(*table())
    assert float(loss) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("neighbours", "sigma"), [(1, 1.0), (3, 2.0), (7, 0.5)])
def test_equals_a_naive_loop(neighbours: int, sigma: float) -> None:
    student, teacher = randn(8, 3), randn(8, 4, seed=1)
    wanted = naive(student, teacher, neighbours, sigma)
    assert float(LP(neighbours, sigma)(student, teacher)) == pytest.approx(wanted, rel=1e-9)


def test_few_samples_use_all_others() -> None:
    student, teacher = randn(4, 3), randn(4, 5, seed=1)
    torch.testing.assert_close(LP(5, 2.0)(student, teacher), LP(3, 2.0)(student, teacher))


def test_is_a_sum_over_the_batch() -> None:
    """Far copies of a cluster add up: twice the samples, twice the value."""
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    twice = LP(2)(torch.cat([student, student]), torch.cat([teacher, teacher + 1000]))
    torch.testing.assert_close(twice, 2 * LP(2)(student, teacher))


def test_turning_and_moving_do_not_matter() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    moved = LP(3)(student @ rotation(3) + 5, teacher @ rotation(4) - 5)
    torch.testing.assert_close(moved, LP(3)(student, teacher))


def test_a_constant_student_is_its_least() -> None:
    assert float(LP(sigma="median")(torch.ones(8, 3), randn(8, 4))) == 0


def test_duplicates_never_choose_themselves() -> None:
    """Of three coinciding teacher samples each must see the two others, at weight one."""
    teacher = randn(6, 4)
    teacher[[1, 2]] = teacher[0].clone()
    teacher[3:] += 100
    student = randn(6, 3, seed=1)
    wanted = naive(student, teacher, 2, 1.0)
    near = sum(float((student[i] - student[j]).square().sum()) for i in range(3) for j in range(3))
    assert wanted > near / 2
    assert float(LP(2, 1.0)(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_one_is_too_narrow_for_wide_features() -> None:
    student, teacher = randn(64, 32).float(), randn(64, 512, seed=1).float()
    narrow, fitting = LP(sigma=1.0), LP(sigma="median")
    assert float(narrow(student, teacher)) == 0
    assert float(narrow.mean_weight) == 0
    assert float(fitting(student, teacher)) > 1
    assert float(fitting.mean_weight) == pytest.approx(math.exp(-1), abs=0.05)


def test_median_is_that_of_the_distances_to_neighbours() -> None:
    student, teacher = randn(8, 3), randn(8, 4, seed=1)
    distance = torch.cdist(teacher, teacher) + torch.eye(8) * 1e9
    sigma = float(distance.sort(dim=1).values[:, :3].median())
    torch.testing.assert_close(LP(3, "median")(student, teacher), LP(3, sigma)(student, teacher))


def test_unit_of_the_teacher_does_not_matter_to_the_median() -> None:
    student, teacher = randn(8, 3), randn(8, 4, seed=1)
    scaled = LP(sigma="median")(student, 1000 * teacher)
    torch.testing.assert_close(scaled, LP(sigma="median")(student, teacher))


def test_mean_weight_moves_in_training_only_and_is_not_saved() -> None:
    loss = LP(sigma=2.0)
    loss(randn(8, 3), randn(8, 4))
    trained = float(loss.mean_weight)
    assert trained > 0
    loss.eval()(randn(8, 3), 10 * randn(8, 4))
    assert float(loss.mean_weight) == trained
    assert not loss.state_dict()


def test_batch_invariant_is_the_mean_over_the_batch() -> None:
    student, teacher = randn(6, 3), randn(6, 4, seed=1)
    torch.testing.assert_close(
        LP(2, batch_invariant=True)(student, teacher), LP(2)(student, teacher) / 6
    )
