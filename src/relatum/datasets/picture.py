"""Pictures out of the wild, whatever their format, to squares of bytes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from relatum.types import Fault, first_line

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes of greyscale with more than eight bits."""


def picture(path: Path, size: int) -> UInt8[Tensor, "3 size size"]:
    """Decode a file: turned as its EXIF says, in colour, resized with antialias, cut to a square.

    What is transparent shows white behind it. Greyscale of 16 bits is scaled to 8 (65535 is
    white), not cut off. Of an animation, the first picture. The square is the largest one
    around the centre: as resizing the shorter side and cutting the centre out, save that
    nothing outside the square bleeds into its border.

    Raises:
        Fault: the file does not decode, is cut off, or has numbers beyond 16 bits.
    """
    try:
        with Image.open(path) as image:
            # A JPEG is decoded smaller when that is still four times as fine as needed.
            image.draft(None, (4 * size, 4 * size))
            return _square(_coloured(ImageOps.exif_transpose(image)), size)
    # Pillow's decoders raise whatever they like at damaged bytes.
    except Exception as error:
        raise Fault(
            f"{path}: does not decode as an image ({first_line(error)}); repair it or remove it"
        ) from error


def pictures(paths: Sequence[Path], size: int) -> UInt8[Tensor, "pictures 3 size size"]:
    """Decode many files, several at once.

    Raises:
        Fault: as ``picture``, for the first that does not decode.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)

    def one(row: int) -> None:
        images[row] = picture(paths[row], size)

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(one, range(len(paths))):
            pass
    return images


def _coloured(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        image = _shallow(image)
    elif image.mode == "F":
        raise ValueError("its pixels are floats, wanted 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _shallow(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _square(image: Image.Image, size: int) -> Tensor:
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)
