import pytest
import torch
from torch import nn

from relatum.losses import FitNet
from relatum.types import Fault
from tests.losses.numbers import randn, wave


def test_equals_a_naive_loop() -> None:
    student, teacher = randn(2, 3, 2, 2), randn(2, 3, 2, 2, seed=1)
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    wanted = sum((s - t) ** 2 for s, t in pairs) / 24
    assert float(FitNet()(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_recorded_maps() -> None:
    value = float(FitNet()(wave((2, 3, 2, 2), 0), wave((2, 3, 2, 2), 0.5)))
    assert value == pytest.approx(0.12174138, abs=6e-9)


def test_the_regressor_stands_between() -> None:
    loss = FitNet(student_shape=(3, 4, 4), teacher_shape=(5, 8, 8)).double()
    student, teacher = randn(4, 3, 4, 4), randn(4, 5, 8, 8, seed=1)
    regressed = loss.regressor(student)
    assert regressed.shape == teacher.shape
    assert (regressed >= 0).all()
    torch.testing.assert_close(loss(student, teacher), (regressed - teacher).square().mean())


def test_the_regressor_learns_a_hint() -> None:
    torch.manual_seed(0)
    loss = FitNet(student_shape=(6, 4, 4), teacher_shape=(5, 4, 4))
    student = torch.randn(32, 6, 4, 4)
    teacher = torch.einsum("bchw,dc->bdhw", student, torch.randn(5, 6)).relu()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.2, momentum=0.9)
    first = loss(student, teacher).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher).item() < first / 20


def test_negative_targets_need_no_relu() -> None:
    """A WideResNet's stages are sums: behind a ReLU the regressor cannot reach them."""
    shapes = (3, 4, 4), (3, 4, 4)
    for relu, kinds in ((True, [nn.ReLU]), (False, [])):
        (_, _, *rest) = FitNet(*shapes, relu=relu).regressor.children()
        assert [type(each) for each in rest] == kinds


def test_shapes_are_checked() -> None:
    with pytest.raises(Fault, match="give the shapes of both maps, or of neither"):
        FitNet(student_shape=(3, 4, 4))
    with pytest.raises(Fault, match="must have one shape"):
        FitNet()(randn(2, 3, 4, 4), randn(2, 5, 4, 4))
