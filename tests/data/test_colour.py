import pytest
import torch

from relatum.data import Jitter
from relatum.types import Fault


def test_each_change_is_torchvisions() -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    images = torch.rand(6, 3, 7, 5)
    factors = 1 + 0.8 * (torch.rand(6, 3) - 0.5)
    found = Jitter().apply(images, factors)
    for image, (brightness, contrast, saturation), ours in zip(
        images, factors.tolist(), found, strict=True
    ):
        wanted = functional.adjust_brightness(image, brightness)
        wanted = functional.adjust_contrast(wanted, contrast)
        wanted = functional.adjust_saturation(wanted, saturation)
        assert torch.allclose(ours, wanted, atol=1e-5)


def test_factors_spread_as_asked_for() -> None:
    drawn = Jitter(0.2, 0.0, 1.0).draw(5000, torch.Generator().manual_seed(0))
    for place, spread in enumerate((0.2, 0.0, 1.0)):
        assert drawn[:, place].min().item() == pytest.approx(1 - spread, abs=0.01)
        assert drawn[:, place].max().item() == pytest.approx(1 + spread, abs=0.01)


def test_grey_stays_grey() -> None:
    images = torch.rand(4, 1, 5, 5)
    saturated = torch.tensor([[1.0, 1.0, 1.4]]).expand(4, 3)
    assert torch.allclose(Jitter().apply(images, saturated), images, atol=1e-6)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Fault, match="contrast changes by 0 to 1, got 2"):
        Jitter(contrast=2)
