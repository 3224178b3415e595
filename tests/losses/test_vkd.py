import copy

import pytest
import torch
from torch import Tensor, nn

from relatum.losses import VkD
from relatum.losses.vkd import OrthogonalProjection, _whitened
from tests.losses.numbers import randn

WIDTHS = [(4, 7), (7, 4), (5, 5)]


def matrix(head: OrthogonalProjection, width: int) -> Tensor:
    """Rows are where the unit vectors go."""
    rows: Tensor = head(torch.eye(width, dtype=head.free.dtype)).detach()
    return rows


def orthonormal(head: OrthogonalProjection, width: int, to: int) -> None:
    rows = matrix(head, width)
    gram = rows @ rows.T if to >= width else rows.T @ rows
    torch.testing.assert_close(gram, torch.eye(min(width, to), dtype=rows.dtype))


def smooth(difference: float) -> float:
    size = abs(difference)
    return size**2 / 2 if size < 1 else size - 0.5


@pytest.mark.parametrize(("width", "to"), WIDTHS)
def test_equals_a_naive_loop(width: int, to: int) -> None:
    loss = VkD(width, to).double()
    student, teacher = randn(6, width), 3 * randn(6, to, seed=1) + 2
    said = student @ matrix(loss.student_head, width)
    total = 0.0
    for own, row in zip(said, teacher, strict=True):
        spread = (row.var(correction=0) + 1e-5).sqrt()
        total += sum(smooth(float(a - b)) for a, b in zip(own, (row - row.mean()) / spread))  # noqa: B905
    assert loss(student, teacher).item() == pytest.approx(total / (6 * to), rel=1e-12)


@pytest.mark.parametrize(("width", "to"), WIDTHS)
def test_the_projection_stays_orthogonal_while_it_learns(width: int, to: int) -> None:
    loss = VkD(width, to).double()
    first = matrix(loss.student_head, width)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5, momentum=0.9, weight_decay=0.05)
    values = []
    for _ in range(50):
        optimizer.zero_grad()
        value = loss(randn(8, width), randn(8, to, seed=1))
        value.backward()
        optimizer.step()
        values.append(value.item())
        orthonormal(loss.student_head, width, to)
    assert not torch.allclose(matrix(loss.student_head, width), first)
    assert values[-1] < values[0]


def test_torchs_own_parametrisation_does_not_survive_weight_decay() -> None:
    """Why there is one of ours. Where this fails, torch has mended it."""
    theirs = nn.utils.parametrizations.orthogonal(nn.Linear(4, 7, bias=False))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, weight_decay=5e-4)
    theirs(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert not theirs(torch.eye(4)).any()


def test_a_wider_space_keeps_all_distances() -> None:
    head, student = OrthogonalProjection(4, 7), torch.randn(6, 4)
    torch.testing.assert_close(
        torch.cdist(head(student), head(student)), torch.cdist(student, student)
    )


def test_weight_decay_alone_changes_nothing() -> None:
    head = OrthogonalProjection(4, 7)
    before = matrix(head, 4)
    with torch.no_grad():
        head.free.mul_(1e-3)
    torch.testing.assert_close(matrix(head, 4), before)


def test_the_projection_moves_smoothly() -> None:
    """Householder's reflections change sign where an entry passes zero; the basis must not."""
    head = OrthogonalProjection(2, 3).double()
    with torch.no_grad():
        head.free.copy_(torch.tensor([[1e-9, 0.3], [1.0, 0.2], [0.5, 0.9]]))
    before = matrix(head, 2)
    with torch.no_grad():
        head.free[0, 0] = -1e-9
    torch.testing.assert_close(matrix(head, 2), before, rtol=0, atol=1e-7)


def test_a_copy_has_parameters_of_its_own() -> None:
    loss = VkD(4, 7)
    twin = copy.deepcopy(loss)
    with torch.no_grad():
        twin.student_head.free.add_(torch.randn(7, 4))
    assert not torch.equal(twin.student_head.free, loss.student_head.free)
    twin.load_state_dict(loss.state_dict())
    student, teacher = torch.randn(5, 4), torch.randn(5, 7)
    assert torch.equal(twin(student, teacher), loss(student, teacher))


def test_whitened_embeddings_vary_alike_in_all_directions() -> None:
    mixed = randn(400, 4) @ randn(4, 4, seed=1) + 5
    white = _whitened(mixed, eps=0.0)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(white.mean(0), torch.zeros(4, dtype=torch.float64))
    cross = (mixed - mixed.mean(0)).T @ white
    torch.testing.assert_close(cross, cross.T)  # the least change is symmetric


def test_whitening_compares_samples_and_layers_do_not() -> None:
    assert VkD(4, 7, normalisation="whiten").relational
    assert not VkD(4, 7).relational
    student, teacher = torch.randn(5, 4), torch.randn(5, 7)
    loss = VkD(4, 7)
    alone = torch.stack([loss(s[None], t[None]) for s, t in zip(student, teacher, strict=True)])
    torch.testing.assert_close(alone.mean(), loss(student, teacher))
