"""STL-10, from the binary files that its authors published (Coates, Ng, Lee, AISTATS 2011)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relatum.data.resident import Resident
from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import remembered
from relatum.datasets.files import AGAIN, fetch, missing, verified
from relatum.types import Fault

SIZE = 32
"""Pixels a side that the transfer protocol resizes to."""
FOLDER = "stl10_binary"
CLASSES = "airplane bird car cat deer dog horse monkey ship truck"


@dataclass(frozen=True)
class Files:
    """What is read, and how it is known.

    Attributes:
        sums: MD5 of each file (torchvision's).
        samples: to train and to test.
        side: pixels, as published.
    """

    sums: Mapping[str, str] = field(
        default_factory=lambda: {
            "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
            "train_y.bin": "5a34089d4802c674881badbb80307741",
            "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
            "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
        }
    )
    samples: tuple[int, int] = (5_000, 8_000)
    side: int = 96


FILES = Files()


def stl10(root: Path, download: bool = False, size: int = SIZE) -> Dataset:
    """STL-10: 5,000 + 8,000 labelled colour images of 10 classes, 96×96 resized to 32×32 pixels.

    Mean and deviation are those of the transfer protocol. The 100,000 unlabelled images are not
    read.
    """
    return load(FILES, root, download, size)


def load(files: Files, root: Path, download: bool = False, size: int = SIZE) -> Dataset:
    """Find, check and read the four files, in ``ROOT/stl10_binary`` or under ``ROOT/stl10``.

    Images are resized as torchvision's ``Resize`` does it: by Pillow, bilinear with antialias.

    Raises:
        Fault: a file is missing, or is not the published one.
    """
    places = [root / FOLDER, root / "stl10" / FOLDER]
    folder = next((place for place in places if place.is_dir()), None)
    lacks = folder is None or any(not (folder / name).is_file() for name in files.sums)
    if download and lacks:
        fetch("STL10", root)
        folder = places[0]
    if folder is None:
        raise missing("stl10", places)
    for name in files.sums:
        if not (folder / name).is_file():
            raise Fault(f"stl10: {folder} has no {name}; run again with --download")

    def decode() -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for part, samples in zip(("train", "test"), files.samples, strict=True):
            images, labels = _part(files, folder, part, samples)
            tensors[f"{part} images"], tensors[f"{part} labels"] = _resized(images, size), labels
        return tensors

    every = [(folder / name).resolve() for name in files.sums]
    tensors = remembered(f"stl10 in {folder.resolve()} at {size}", every, decode)
    parts = [
        Resident(tensors[f"{part} images"], tensors[f"{part} labels"]) for part in ("train", "test")
    ]
    return Dataset(
        name="stl10",
        train=parts[0],
        test=parts[1],
        classes=tuple(CLASSES.split()),
        mean=(0.4467, 0.4398, 0.4066),
        std=(0.2603, 0.2566, 0.2712),
        note=f"MD5 sums as published; resized from {files.side} to {size} pixels",
    )


def _part(files: Files, folder: Path, part: str, samples: int) -> tuple[Tensor, Tensor]:
    """Bytes of images as samples × 3 × side × side, and their labels from 0."""
    names = f"{part}_X.bin", f"{part}_y.bin"
    images, labels = (
        torch.frombuffer(bytearray(verified(folder / name, files.sums[name])), dtype=torch.uint8)
        for name in names
    )
    if len(images) != samples * 3 * files.side**2 or len(labels) != samples:
        raise Fault(
            f"{folder / names[0]}: holds {len(images):,} bytes beside {len(labels):,} labels,"
            f" wanted {samples:,} images of 3 by {files.side} by {files.side}; {AGAIN}"
        )
    # columns first: the format is that of Matlab
    return images.view(samples, 3, files.side, files.side).transpose(2, 3), labels.long() - 1


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images.contiguous()
    small = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for row, pixels in enumerate(images.permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
        small[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return small
