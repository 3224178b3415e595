"""Pictures out of the wild, whatever their format, to squares of bytes."""

import errno
import io
import os
import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from relatum.types import Fault, first_line

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What these extensions promise, and no more: a file's format is told by its bytes, and of the
others that Pillow knows, EPS is decoded by a program that it starts (Ghostscript). A telephone's
JPEG of several pictures (MPO) is opened as JPEG."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes of greyscale with more than eight bits."""


class Unreadable(Fault):
    """An image that cannot be read; ``reason`` says why, in a few words."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def shown(name: str | Path) -> str:
    """A file's name as it can be printed and stored, whatever bytes it is made of."""
    return os.fsencode(name).decode(errors="replace")


def picture(file: Path | bytes, size: int, name: str = "") -> UInt8[Tensor, "3 size size"]:
    """Decode an image: turned as its EXIF says, in colour, resized with antialias, cut to a square.

    What is transparent shows white behind it. Greyscale of 16 bits is scaled to 8 (65535 is
    white), not cut off; it becomes three equal channels, as all greyscale does. Inks (CMYK) become
    colour by Pillow's rule, which knows no profiles. Of an animation, the first picture. The square
    is the largest one around the centre: as resizing the shorter side and cutting the centre out,
    save that nothing outside the square bleeds into its border.

    Args:
        file: its path, or its bytes.
        size: height and width of what is given.
        name: what it is called if it cannot be read; its path by default.

    Raises:
        Unreadable: it is not there or may not be read, does not decode, is cut off, has numbers
            beyond 16 bits, or so many pixels (179 million) that Pillow takes it for an attack.
    """
    try:
        if (len(file) if isinstance(file, bytes) else file.stat().st_size) == 0:
            raise ValueError("an empty file")
        opened = io.BytesIO(file) if isinstance(file, bytes) else file
        with Image.open(opened, formats=FORMATS) as image:
            # A JPEG is decoded smaller when that is still four times as fine as needed.
            image.draft(None, (4 * size, 4 * size))
            return _square(_coloured(ImageOps.exif_transpose(image)), size)
    # Pillow's decoders raise whatever they like at damaged bytes.
    except Exception as error:
        reason = _reason(file, error)
        named = name or (shown(file) if isinstance(file, Path) else "an image")
        raise Unreadable(
            f"{named}: does not decode as an image ({reason}); repair it or remove it", reason
        ) from error


def _reason(file: Path | bytes, error: Exception) -> str:
    if isinstance(file, Path) and isinstance(error, OSError) and error.errno is not None:
        # only then: of a name that is too long it cannot be asked either
        if error.errno in (errno.ENOENT, errno.ELOOP) and file.is_symlink():
            return "a link that leads nowhere"
        return (error.strerror or "cannot be read").lower()
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        found = re.search(r"\d+", str(error))
        return f"{int(found[0]):,} pixels, too many" if found else "too many pixels"
    return first_line(error)


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
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _square(image: Image.Image, size: int) -> Tensor:
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)
