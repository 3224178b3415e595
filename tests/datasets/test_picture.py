import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from relatum.datasets.picture import picture
from relatum.types import Fault


def flat(mode: str, colour: Any, size: tuple[int, int] = (20, 20)) -> Image.Image:
    return Image.new(mode, size, colour)


def colours(tensor: Tensor) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in tensor.flatten(1).T.tolist()}


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right and green downwards."""
    red = np.linspace(0, 255, width).round()[None].repeat(height, 0)
    green = np.linspace(0, 255, height).round()[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([red, green, np.zeros_like(red)], -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (flat("RGB", (10, 20, 30)), (10, 20, 30)),
        (flat("L", 77), (77, 77, 77)),
        (flat("1", 1), (255, 255, 255)),
        (flat("RGBA", (10, 20, 30, 0)), (255, 255, 255)),
        (flat("RGBA", (10, 20, 30, 255)), (10, 20, 30)),
        (flat("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        (flat("LA", (0, 51)), (204, 204, 204)),
        (flat("I;16", 65535), (255, 255, 255)),
        (flat("I;16", 257 * 100), (100, 100, 100)),
        (flat("I;16", 257 * 100 + 128), (100, 100, 100)),
        (flat("I;16", 257 * 100 + 129), (101, 101, 101)),
        (flat("I;16", 0), (0, 0, 0)),
        (flat("RGB", (9, 8, 7)).quantize(4), (9, 8, 7)),
    ],
)
def test_every_mode_becomes_colour(
    tmp_path: Path, image: Image.Image, colour: tuple[int, ...]
) -> None:
    path = tmp_path / "x.png"
    image.save(path)
    assert colours(picture(path, 4)) == {colour}


def test_a_transparent_palette_shows_white(tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    image = flat("P", 0)
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.save(path, transparency=0)
    assert colours(picture(path, 4)) == {(255, 255, 255)}


def test_a_transparent_colour_shows_white(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    flat("RGB", (200, 0, 0)).save(path, transparency=(200, 0, 0))
    assert colours(picture(path, 4)) == {(255, 255, 255)}


def test_deep_tiff_of_either_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for mode in ("I;16", "I;16B"):
        Image.frombytes(mode, (2, 2), bytes([0x80, 0x80] * 4)).save(path)
        assert colours(picture(path, 2)) == {(128, 128, 128)}


def test_inks_become_colour(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    flat("CMYK", (0, 0, 0, 255)).save(path, quality=100)
    assert all(max(colour) < 6 for colour in colours(picture(path, 4)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "x.png"
    upright = np.asarray(gradient(16, 16))
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation])).save(path, exif=exif)
    assert torch.equal(picture(path, 16), torch.tensor(upright).permute(2, 0, 1))


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48), (16, 16), (17, 48), (49, 16)])
def test_the_centre_is_cut_out(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "x.png"
    image = gradient(width, height)
    image.save(path)
    left, top = (max(width, height) - 16) // 2 * np.array([width > 16, height > 16])
    if width % 2 == height % 2 == 0:
        wanted = np.asarray(image)[top : top + 16, left : left + 16]
        assert torch.equal(picture(path, 16), torch.tensor(wanted).permute(2, 0, 1))
    side = min(width, height)
    found = picture(path, side).float()
    middle = torch.tensor(np.asarray(image)).permute(2, 0, 1).float().mean((1, 2))
    assert (found.mean((1, 2)) - middle).abs().max() < 3


def test_resized_with_antialias_as_torchvision_does(tmp_path: Path) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    path = tmp_path / "x.png"
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (64, 128, 3), dtype=np.uint8))
    image.save(path)
    wanted = functional.center_crop(functional.resize(image, 16), 16)
    found = picture(path, 16).permute(1, 2, 0).int()
    difference = (found - torch.tensor(np.asarray(wanted)).int()).abs()
    # The columns at both ends do not see the pixels outside the square.
    assert difference[:, 1:-1].max() <= 1
    assert difference.float().mean() < 2


def test_a_checkerboard_becomes_grey(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(path)
    assert (picture(path, 8).int() - 127).abs().max() <= 8


def test_a_large_photograph_looks_the_same_decoded_smaller(tmp_path: Path) -> None:
    path, exact = tmp_path / "x.jpg", tmp_path / "x.png"
    gradient(900, 700).save(path, quality=95)
    with Image.open(path) as image:
        image.convert("RGB").save(exact)
    assert (picture(path, 16).int() - picture(exact, 16).int()).abs().max() <= 2


def test_small_images_grow(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    flat("RGB", (1, 2, 3), (1, 5)).save(path)
    assert picture(path, 9).shape == (3, 9, 9)
    assert colours(picture(path, 9)) == {(1, 2, 3)}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "ppm"])
def test_truncated_files_are_named(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(noise).save(stored, kind)
    path = tmp_path / f"x.{kind}"
    path.write_bytes(stored.getvalue())
    assert picture(path, 8).shape == (3, 8, 8)
    for length in (len(stored.getvalue()) // 2, 20, 0):
        path.write_bytes(stored.getvalue()[:length])
        with pytest.raises(Fault) as caught:
            picture(path, 8)
        message = str(caught.value)
        assert message.startswith(f"{path}: does not decode as an image (")
        assert message.endswith("repair it or remove it")
        assert "\n" not in message


def test_pixels_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path)
    with pytest.raises(Fault, match="floats"):
        picture(path, 4)
    Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)).save(path)
    with pytest.raises(Fault, match="more than 16 bits"):
        picture(path, 4)


def test_no_program_is_started_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", never)
    path = tmp_path / "x.jpg"
    flat("RGB", (9, 8, 7)).save(path, "eps")
    with pytest.raises(Fault, match="no image of a known format"):
        picture(path, 4)


def test_a_telephones_jpeg_of_several_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    flat("RGB", (200, 0, 0)).save(
        path, "mpo", save_all=True, append_images=[flat("RGB", (0, 0, 200))], quality=100
    )
    assert b"MPF\0" in path.read_bytes()
    assert all(colour[0] > 195 and colour[2] < 5 for colour in colours(picture(path, 4)))


@pytest.mark.parametrize(
    ("name", "reason"), [("a\0b.png", "null byte"), ("a" * 5000 + ".png", "name too long")]
)
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(Fault, match=f"{reason}.*; repair it or remove it"):
        picture(tmp_path / name, 4)
