import pytest
import torch

from relatum.losses import EGA
from relatum.types import Fault
from tests.losses.numbers import randn, wave


def test_equals_the_correlations_of_the_stacked_samples() -> None:
    student, teacher = randn(5, 4), randn(5, 4, seed=1)
    every = torch.corrcoef(torch.cat([teacher, student]))
    nodes = every[:5, 5:] - torch.eye(5)
    edges = every[:5, :5] - every[5:, 5:]
    wanted = sum(float(e) ** 2 for e in nodes.flatten()) ** 0.5
    wanted += 0.3 * sum(float(e) ** 2 for e in edges.flatten()) ** 0.5
    assert EGA()(student, teacher).item() == pytest.approx(wanted, rel=1e-12)


def test_recorded_value() -> None:
    """Of methods.md, 5.1."""
    value = EGA()(wave((4, 6), 0.0), wave((4, 6), 0.5))
    assert value.item() == pytest.approx(2.43913522, abs=1e-8)


def test_scale_and_shift_of_each_sample_do_not_matter() -> None:
    student, teacher = randn(5, 4), randn(5, 4, seed=1)
    moved = randn(5, 1, seed=2).exp() * student + randn(5, 1, seed=3)
    torch.testing.assert_close(EGA()(moved, teacher), EGA()(student, teacher))


def test_is_symmetric() -> None:
    student, teacher = randn(5, 4), randn(5, 4, seed=1)
    torch.testing.assert_close(EGA()(teacher, student), EGA()(student, teacher))


def test_of_equal_graphs_the_edges_vanish_and_correlated_nodes_stay() -> None:
    teacher = randn(5, 4)
    assert EGA(node_weight=0.0)(teacher, teacher) == 0
    assert EGA()(teacher, teacher) > 1


def test_uncorrelated_samples_reach_zero() -> None:
    """Rows of a Hadamard matrix but the first: orthogonal, each of mean zero."""
    rows = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    assert EGA()(rows, rows).item() == pytest.approx(0, abs=1e-12)


def test_a_flat_embedding_correlates_with_nothing() -> None:
    student, teacher = randn(3, 4), randn(3, 4, seed=1)
    student[1] = 0.1
    student.requires_grad_()
    value = EGA()(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert not student.grad[1].any()


def test_a_head_where_widths_differ_and_only_there() -> None:
    loss = EGA(6, 4).double()
    student, teacher = randn(5, 6), randn(5, 4, seed=1)
    torch.testing.assert_close(loss(student, teacher), EGA()(loss.student_head(student), teacher))
    assert not list(EGA(4, 4).parameters())
    assert not list(EGA().parameters())
    with pytest.raises(Fault, match="the widths where they differ"):
        EGA()(student, teacher)
