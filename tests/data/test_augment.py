import pytest
import torch
from torch import Tensor

from relatum.data import AUGMENTS, Augment, Crop, Flip, augmentations
from relatum.types import Fault


def naive_crop(images: Tensor, corners: list[list[int]], padding: int) -> Tensor:
    out = torch.zeros_like(images)
    _, channels, height, width = images.shape
    for sample, (top, left) in enumerate(corners):
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    y, x = row + top - padding, column + left - padding
                    if 0 <= y < height and 0 <= x < width:
                        out[sample, channel, row, column] = images[sample, channel, y, x]
    return out


@pytest.mark.parametrize("shape", [(7, 1, 5, 5), (4, 3, 4, 7), (1, 2, 1, 1), (3, 3, 2, 9)])
@pytest.mark.parametrize("padding", [1, 4])
def test_crop_is_the_naive_loop(shape: tuple[int, ...], padding: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(shape, generator=generator)
    crop = Crop(padding)
    corners = crop.draw(len(images), generator)
    cropped = crop.apply(images, corners)
    assert torch.equal(cropped, naive_crop(images, corners.tolist(), padding))
    assert cropped.is_contiguous()


def test_crop_draws_every_shift_equally_often() -> None:
    corners = Crop(2).draw(50_000, torch.Generator().manual_seed(0))
    assert corners.shape == (50_000, 2)
    counts = (corners[:, 0] * 5 + corners[:, 1]).bincount(minlength=25)
    assert len(counts) == 25
    assert (counts - 2_000).abs().max() < 250  # 5.7 standard deviations


def test_flip_mirrors_those_chosen() -> None:
    images = torch.rand(40, 2, 3, 5)
    chosen = Flip().draw(40, torch.Generator().manual_seed(0))
    wanted = [
        image.flip(-1) if mirror else image for image, mirror in zip(images, chosen, strict=True)
    ]
    assert torch.equal(Flip().apply(images, chosen), torch.stack(wanted))


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_flip_keeps_its_probability(probability: float) -> None:
    chosen = Flip(probability).draw(20_000, torch.Generator().manual_seed(0))
    assert chosen.float().mean().item() == pytest.approx(probability, abs=0.015)


@pytest.mark.parametrize("augment", augmentations(tuple(AUGMENTS)))
def test_contract(augment: Augment) -> None:
    """Parameters are per sample, so what befalls a sample does not depend on its batch."""
    images = torch.rand(12, 3, 8, 8)
    before = images.clone()
    parameters = augment.draw(12, torch.Generator().manual_seed(1))
    again = augment.draw(12, torch.Generator().manual_seed(1))
    assert torch.equal(parameters, again)
    assert parameters.device.type == "cpu"
    whole = augment.apply(images, parameters)
    assert torch.equal(images, before)
    assert whole.shape == images.shape
    assert whole.dtype == images.dtype
    alone = [augment.apply(images[i : i + 1], parameters[i : i + 1]) for i in range(12)]
    assert torch.equal(whole, torch.cat(alone))
    order = torch.randperm(12)
    assert torch.equal(augment.apply(images[order], parameters[order]), whole[order])


@pytest.mark.parametrize("augment", augmentations(tuple(AUGMENTS)))
def test_nothing_waits_for_the_gpu(augment: Augment) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images = torch.rand(12, 3, 8, 8, device="cuda")
    parameters = augment.draw(12, torch.Generator()).cuda()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment.apply(images, parameters)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_names() -> None:
    assert augmentations(()) == ()
    assert augmentations(("flip", "crop")) == (Flip(0.5), Crop(4))
    with pytest.raises(Fault, match="'flipp'; the nearest is 'flip'"):
        augmentations(("crop", "flipp"))


def test_nonsense_is_refused() -> None:
    with pytest.raises(Fault, match="at least one pixel"):
        Crop(0)
    with pytest.raises(Fault, match="between 0 and 1"):
        Flip(1.5)
