"""Labelled images in Parquet files, as on the Hugging Face hub."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relatum.datasets.picture import FORMATS
from relatum.types import Fault, first_line

AGAIN = "delete it and fetch it again"


def shards(folder: Path, part: str) -> list[Path]:
    """The files of one part, in order: ``train-00000-of-00002.parquet`` and so on.

    Raises:
        Fault: there is none, or one of those that their names promise is missing.
    """
    found = sorted(folder.glob(f"{part}-*.parquet"))
    if not found:
        raise Fault(f"{folder}: there is no {part}-*.parquet; put the file there")
    if count := re.search(r"-of-(\d+)\.parquet$", found[0].name):
        for place in range(int(count[1])):
            path = folder / f"{part}-{place:05d}-of-{count[1]}.parquet"
            if path not in found:
                raise Fault(f"{folder}: {path.name} is missing; put the file there")
    return found


def labelled_images(path: Path, column: str, classes: int, side: int) -> tuple[Tensor, Tensor]:
    """The images (N×3×side×side bytes) and labels (N) of one file, in its order.

    Args:
        path: with a column ``img``, whose ``bytes`` are an encoded image.
        column: what the labels are called.
        classes: how many there are.
        side: pixels.

    Raises:
        Fault: the file is damaged, or not what was wanted; it names the row.
    """
    table = _table(path, column)
    labels = table[column].to_pylist()
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label < classes:
            raise Fault(f"{path}: row {row} has label {label} of {classes} classes; {AGAIN}")
    images = torch.empty(len(labels), 3, side, side, dtype=torch.uint8)
    for row, cell in enumerate(table["img"].to_pylist()):
        images[row] = _pixels(path, row, cell, side)
    return images, torch.tensor(labels, dtype=torch.int64)


def _table(path: Path, column: str) -> Any:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise Fault(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from error
    try:
        columns = parquet.read_schema(path).names
        if not {"img", column} <= set(columns):
            raise Fault(
                f"{path}: wanted columns img and {column}, it has {', '.join(columns)};"
                " put the right file there"
            )
        return parquet.read_table(path, columns=["img", column])
    except (arrow.ArrowException, OSError) as error:
        raise Fault(f"{path}: damaged Parquet ({first_line(error)}); {AGAIN}") from error


def _pixels(path: Path, row: int, cell: Any, side: int) -> Tensor:
    try:
        with Image.open(io.BytesIO(cell["bytes"]), formats=FORMATS) as image:
            pixels = torch.from_numpy(np.array(image))
    # Pillow's decoders raise whatever they like at damaged bytes.
    except Exception as error:
        raise Fault(
            f"{path}: the image in row {row} cannot be read ({first_line(error)}); {AGAIN}"
        ) from error
    if pixels.shape != (side, side, 3) or pixels.dtype != torch.uint8:
        raise Fault(
            f"{path}: the image in row {row} is {tuple(pixels.shape)}, wanted {side} by {side}"
            f" pixels of 3 bytes; {AGAIN}"
        )
    return pixels.permute(2, 0, 1)
