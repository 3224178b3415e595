import pytest
import torch
import torch.nn.functional as F

from relatum.losses import CrossEntropy, Reconstruction
from tests.losses.numbers import randn


def test_cross_entropy_of_smoothed_targets() -> None:
    logits, labels = randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    targets = 0.8 * F.one_hot(labels, 4).double() + 0.2 / 4
    wanted = -(targets * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy(label_smoothing=0.2)(logits, labels), wanted)


def test_cross_entropy_without_knowledge_is_the_logarithm_of_the_classes() -> None:
    loss = CrossEntropy()(torch.zeros(3, 10), torch.tensor([0, 5, 9]))
    assert float(loss) == pytest.approx(2.302585, abs=1e-6)


def test_reconstruction_is_the_mean_over_every_pixel() -> None:
    images, shown = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    wanted = sum(float(x) ** 2 for x in (images - shown).flatten()) / images.numel()
    assert float(Reconstruction()(shown, images)) == pytest.approx(wanted, rel=1e-12)
