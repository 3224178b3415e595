"""MNIST and Fashion-MNIST, read from the files that their authors published."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from relatum.data.resident import Resident
from relatum.datasets.dataset import Dataset
from relatum.datasets.files import AGAIN, fetch, md5, missing, read, unzip, verified
from relatum.types import Fault

UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class Family:
    """A set of four idx files: images and labels, to train and to test.

    Attributes:
        name: of the set, and of the folder that may hold it.
        kind: torchvision's class, and its folder.
        sums: MD5 of each zipped file (torchvision's).
        classes: their names.
        samples: to train and to test.
        side: pixels.
    """

    name: str
    kind: str
    sums: Mapping[str, str]
    classes: tuple[str, ...]
    samples: tuple[int, int] = (60_000, 10_000)
    side: int = 28


MNIST = Family(
    name="mnist",
    kind="MNIST",
    sums={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    classes=tuple("0123456789"),
)

FASHION = Family(
    name="fashion-mnist",
    kind="FashionMNIST",
    sums={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


def mnist(root: Path, download: bool = False) -> Dataset:
    """MNIST: 60,000 + 10,000 digits of 28×28 pixels, normalised to [-1, 1] as by RRKD."""
    return load(MNIST, root, download)


def fashion_mnist(root: Path, download: bool = False) -> Dataset:
    """Fashion-MNIST: as MNIST, of ten kinds of clothing."""
    return load(FASHION, root, download)


def load(family: Family, root: Path, download: bool = False) -> Dataset:
    """Find, check and read the four files of a family.

    They may lie as torchvision leaves them (``ROOT/MNIST/raw``), zipped or not, there under
    ``ROOT/mnist``, or bare in either folder. Zipped files must have the published MD5 sum; of
    unzipped ones, sizes and labels are checked.

    Raises:
        Fault: a file is missing, truncated, damaged or not what it should be.
    """
    folder = _find(family, root)
    if download and (folder is None or _lacks(family, folder)):
        fetch(family.kind, root)
        folder = root / family.kind / "raw"
    if folder is None:
        raise missing(family.name, _places(family, root))
    if lacking := _lacks(family, folder):
        raise Fault(
            f"{family.name}: {folder} has no {lacking[0]}.gz; run again with --download, or put"
            " the file there"
        )
    parts = [
        _part(family, folder, start, samples)
        for start, samples in zip(("train", "t10k"), family.samples, strict=True)
    ]
    zipped = all((folder / f"{name}.gz").is_file() for name in family.sums)
    return Dataset(
        name=family.name,
        train=parts[0],
        test=parts[1],
        classes=family.classes,
        mean=(0.5,),
        std=(0.5,),
        note="MD5 sums as published" if zipped else "unzipped files: sizes and labels checked",
    )


def _places(family: Family, root: Path) -> list[Path]:
    return [
        root / family.kind / "raw",
        root / family.name / family.kind / "raw",
        root / family.name,
        root,
    ]


def _find(family: Family, root: Path) -> Path | None:
    for folder in _places(family, root):
        if any(_file(folder, name) for name in family.sums) and not _foreign(family, folder):
            return folder
    return None


def _foreign(family: Family, folder: Path) -> bool:
    """Whether the other family lies here: the names of its files are the same."""
    name = next(iter(family.sums))
    path = folder / f"{name}.gz"
    others = {other.sums[name] for other in (MNIST, FASHION) if other.name != family.name}
    return path.is_file() and md5(read(path)) in others


def _file(folder: Path, name: str) -> Path | None:
    # Zipped first: of those the sums are known. Some mirrors write a dot for the second dash.
    for path in (folder / f"{name}.gz", folder / name, folder / name.replace("-idx", ".idx")):
        if path.is_file():
            return path
    return None


def _lacks(family: Family, folder: Path) -> list[str]:
    return [name for name in family.sums if _file(folder, name) is None]


def _part(family: Family, folder: Path, start: str, samples: int) -> Resident:
    images_path = _path(folder, f"{start}-images-idx3-ubyte")
    labels_path = _path(folder, f"{start}-labels-idx1-ubyte")
    images = read_idx(images_path, family.sums[f"{start}-images-idx3-ubyte"], axes=3)
    labels = read_idx(labels_path, family.sums[f"{start}-labels-idx1-ubyte"], axes=1)
    if images.shape != (samples, family.side, family.side):
        found = " by ".join(f"{size:,}" for size in images.shape)
        raise Fault(
            f"{images_path}: holds {found}, wanted {samples:,} images of {family.side} by"
            f" {family.side}; {AGAIN}"
        )
    if len(labels) != samples:
        raise Fault(f"{labels_path}: has {len(labels):,} labels for {samples:,} images; {AGAIN}")
    if (high := int(labels.max())) >= len(family.classes):
        raise Fault(
            f"{labels_path}: has label {high}, the highest of {len(family.classes)} classes is"
            f" {len(family.classes) - 1}; {AGAIN}"
        )
    return Resident(images.unsqueeze(1), labels.long())


def _path(folder: Path, name: str) -> Path:
    found = _file(folder, name)
    return folder / f"{name}.gz" if found is None else found


def read_idx(path: Path, wanted_md5: str | None, axes: int) -> Tensor:
    """The bytes of an idx file (http://yann.lecun.com/exdb/mnist), zipped or not.

    Two zeros, a type, the number of axes, the size of each as four bytes, the highest first,
    and then the numbers, the last axis fastest.

    Args:
        path: zipped when its name ends in ``.gz``.
        wanted_md5: of the zipped file; ``None`` asks for no sum.
        axes: how many there must be.
    """
    if path.suffix == ".gz":
        data = unzip(path, verified(path, wanted_md5) if wanted_md5 else read(path))
    else:
        data = read(path)
    start = 4 + 4 * axes
    if data[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)) or len(data) < start:
        raise Fault(
            f"{path}: begins with {data[:4].hex() or 'nothing'}, an idx file of bytes with {axes}"
            f" axes with {bytes((0, 0, UNSIGNED_BYTE, axes)).hex()}; {AGAIN}"
        )
    sizes = [int.from_bytes(data[place : place + 4], "big") for place in range(4, start, 4)]
    if len(data) - start != math.prod(sizes):
        said = " by ".join(f"{size:,}" for size in sizes)
        raise Fault(
            f"{path}: says {said} bytes and has {len(data) - start:,}, so it is cut off or"
            f" damaged; {AGAIN}"
        )
    # A bytearray, because torch warns of memory that must not be written.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[start:].view(sizes)
