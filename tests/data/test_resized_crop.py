import pytest
import torch
import torch.nn.functional as F

from relatum.data import ResizedCrop
from relatum.types import Fault


def drawn(crop: ResizedCrop, samples: int = 4000) -> torch.Tensor:
    return crop.draw(samples, torch.Generator().manual_seed(0))


def test_rectangles_lie_inside_and_have_the_share_and_proportions_that_were_asked_for() -> None:
    left, top, width, height = drawn(ResizedCrop()).unbind(1)
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6
    area, ratio = width * height, width / height
    assert 0.08 - 1e-5 <= area.min() < 0.1
    assert area.max() <= 1 + 1e-6
    assert 3 / 4 - 1e-4 <= ratio.min() < 0.77
    assert 1.3 < ratio.max() <= 4 / 3 + 1e-4
    # what does not fit is drawn again, and only the largest do not: about the middle of 0.08 to 1
    assert 0.45 < area.mean() < 0.56
    assert abs(ratio.log().mean()) < 0.01
    assert abs((left / (1 - width).clamp_min(1e-6)).mean() - 0.5) < 0.02


def test_the_same_shares_as_torchvision_draws() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    torch.manual_seed(0)
    image = torch.zeros(3, 1000, 1000)
    kind = transforms.RandomResizedCrop
    theirs = torch.tensor(
        [kind.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)]
    ).float()
    ours = drawn(ResizedCrop()) * 1000
    for place, ours_of in ((3, ours[:, 2]), (2, ours[:, 3]), (1, ours[:, 0]), (0, ours[:, 1])):
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            assert abs(theirs[:, place].quantile(share) - ours_of.quantile(share)) < 30


def test_where_nothing_fits_the_whole_image_in_the_nearest_proportions() -> None:
    flat = drawn(ResizedCrop(scale=(0.9, 1.0), ratio=(2.0, 3.0)), 5)
    assert torch.allclose(flat, torch.tensor([0.0, 0.25, 1.0, 0.5]).expand(5, 4))
    tall = drawn(ResizedCrop(scale=(0.9, 1.0), ratio=(1 / 3, 1 / 2)), 5)
    assert torch.allclose(tall, torch.tensor([0.25, 0.0, 0.5, 1.0]).expand(5, 4))


def test_a_rectangle_of_whole_pixels_is_cut_out_and_enlarged() -> None:
    images = torch.rand(2, 3, 12, 12)
    parameters = torch.tensor([[3 / 12, 2 / 12, 6 / 12, 6 / 12], [0.0, 0.0, 1.0, 1.0]])
    found = ResizedCrop().apply(images, parameters)
    assert torch.allclose(found[1], images[1], atol=1e-6)
    part = images[:1, :, 2:8, 3:9]
    wanted = F.interpolate(part, size=(12, 12), mode="bilinear", align_corners=False)
    assert torch.allclose(found[:1, :, 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "ratio", "says"),
    [
        ((0.0, 1.0), (1.0, 1.0), "share of the area"),
        ((0.5, 1.1), (1.0, 1.0), "share of the area"),
        ((0.5, 1.0), (2.0, 1.0), "proportions go from the least"),
    ],
)
def test_nonsense_is_refused(
    scale: tuple[float, float], ratio: tuple[float, float], says: str
) -> None:
    with pytest.raises(Fault, match=says):
        ResizedCrop(scale, ratio)
