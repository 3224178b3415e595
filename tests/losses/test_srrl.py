import pytest
import torch
from torch import nn

from relatum.losses import SRRL
from relatum.taps import Tap, Tapped
from relatum.types import Fault
from tests.losses.numbers import randn


def classifier(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3, bias=bias, dtype=torch.float64)


def test_equals_a_naive_loop() -> None:
    student, teacher, own = randn(2, 4, 2, 2), randn(2, 4, 3, 3, seed=1), classifier()
    feature = logit = 0.0
    for s, t in zip(student, teacher, strict=True):
        means = [[float(channel.mean()) for channel in maps] for maps in (s, t)]
        feature += sum((a - b) ** 2 for a, b in zip(*means, strict=True)) / (2 * 4)
        for row, bias in zip(own.weight.tolist(), own.bias.tolist(), strict=True):
            a, b = (bias + sum(w * m for w, m in zip(row, mean, strict=True)) for mean in means)
            logit += (a - b) ** 2 / (2 * 3)
    both = SRRL(own, feature_weight=2.0, logit_weight=5.0).double()
    assert float(both(student, teacher)) == pytest.approx(2 * feature + 5 * logit, rel=1e-12)
    assert float(SRRL(own).double()(student, teacher)) == pytest.approx(feature + logit, rel=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_the_second_part_compares_with_the_teachers_own_logits(bias: bool) -> None:
    student, embedding, own = randn(5, 4), randn(5, 4, seed=1), classifier(bias)
    loss = SRRL(own, feature_weight=0.0).double()
    wanted = (own(student) - own(embedding)).square().mean()
    torch.testing.assert_close(loss(student, embedding), wanted.detach())


def test_the_teachers_classifier_is_copied_and_left_alone() -> None:
    own = classifier()
    Tapped(nn.Sequential(own), {"embedding": Tap("0", "input")})
    loss = SRRL(own)
    assert own.weight.requires_grad
    assert not any(each.requires_grad for each in loss.teacher_classifier.parameters())
    assert own._forward_pre_hooks
    assert not loss.teacher_classifier._forward_pre_hooks
    torch.testing.assert_close(loss.teacher_classifier.weight, own.weight)
    with torch.no_grad():
        own.weight.zero_()
    assert loss.teacher_classifier.weight.abs().sum() > 0


def test_a_classifier_in_half_precision_is_raised() -> None:
    loss = SRRL(classifier().bfloat16())
    assert loss.teacher_classifier.weight.dtype == torch.float32
    assert loss(torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.bfloat16)) == 0


def test_gradient_passes_the_frozen_classifier() -> None:
    student = randn(5, 4).requires_grad_()
    SRRL(classifier(), feature_weight=0.0).double()(student, randn(5, 4, seed=1)).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0


def test_a_vector_is_a_map_of_one_pixel() -> None:
    loss = SRRL(classifier(), student_channels=6).double()
    student, teacher = randn(5, 6), randn(5, 4, seed=1)
    torch.testing.assert_close(
        loss(student, teacher), loss(student[..., None, None], teacher[..., None, None])
    )


def test_the_map_is_connected_before_it_is_pooled() -> None:
    loss = SRRL(classifier(), student_channels=6).double()
    student, teacher = randn(5, 6, 3, 3), randn(5, 4, seed=1)
    connected = loss.head(student)
    assert connected.shape == (5, 4, 3, 3)
    assert connected.min() == 0
    torch.testing.assert_close(
        loss(student, teacher), SRRL(classifier()).double()(connected, teacher)
    )


def test_what_does_not_fit_is_refused() -> None:
    loss = SRRL(classifier().float(), student_channels=6)
    with pytest.raises(Fault, match="classifier reads 4 features, got 5"):
        loss(torch.zeros(2, 6, 2, 2), torch.zeros(2, 5))
    with pytest.raises(Fault, match="needs two samples of a vector"):
        loss(torch.zeros(1, 6), torch.zeros(1, 4))
    assert loss.eval()(torch.zeros(1, 6), torch.zeros(1, 4)).isfinite()
    with pytest.raises(Fault, match=r"must be an nn\.Linear, got Sequential"):
        SRRL(nn.Sequential())  # type: ignore[arg-type]
