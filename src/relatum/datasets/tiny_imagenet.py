"""Tiny-ImageNet-200, as its archive unpacks (Stanford CS231n)."""

from pathlib import Path

import torch

from relatum.data.resident import Resident
from relatum.datasets.dataset import Dataset
from relatum.datasets.files import fetch_archive, missing, read
from relatum.datasets.originals import Files, decode_all
from relatum.types import Fault

SIZE = 32
"""Pixels a side that the transfer protocol resizes to."""
SAMPLES = (100_000, 10_000)
"""To train and to test."""
FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"

Labelled = list[tuple[Path, str]]
"""Images, and the WordNet ids of their classes."""


def tiny_imagenet(root: Path, download: bool = False, size: int = SIZE) -> Dataset:
    """Tiny-ImageNet: 100,000 + 10,000 colour images of 200 classes, 64×64 resized to 32×32 pixels.

    The published validation images are the test part, for those of its own test part have no
    labels. Mean and deviation are those of the transfer protocol.
    """
    return load(root, download, size)


def load(
    root: Path, download: bool = False, size: int = SIZE, samples: tuple[int, int] = SAMPLES
) -> Dataset:
    """Find and read the folder, in ``ROOT`` or in ``ROOT/tiny-imagenet``.

    The classes of validation images are looked up in ``val_annotations.txt``; no file is moved.
    Classes are ordered by their WordNet ids, as sorted folders would be, and bear the first of
    their words.

    Raises:
        Fault: something is missing, damaged, or not laid out as in the archive.
    """
    places = [root / FOLDER, root / "tiny-imagenet" / FOLDER]
    found = next((place for place in places if place.is_dir()), None)
    if found is None and download:
        fetch_archive("tiny-imagenet", URL, root, MD5)
        found = places[0]
    if found is None:
        raise missing("tiny-imagenet", places)
    classes = sorted(_lines(found / "wnids.txt"))
    parts: list[Resident] = []
    for labelled, wanted in zip((_train(found, classes), _val(found)), samples, strict=True):
        if len(labelled) != wanted:
            raise Fault(
                f"{found}: lists {len(labelled):,} images where {wanted:,} are wanted; delete it"
                " and run again with --download"
            )
        parts.append(_decode(labelled, classes, size))
    return Dataset(
        name="tiny-imagenet",
        train=parts[0],
        test=parts[1],
        classes=_words(found, classes),
        mean=(0.4802, 0.4481, 0.3975),
        std=(0.2770, 0.2691, 0.2821),
        note=f"files counted; test part: its validation images; resized from 64 to {size} pixels",
    )


def _train(folder: Path, classes: list[str]) -> Labelled:
    labelled: Labelled = []
    for name in classes:
        images = sorted((folder / "train" / name / "images").glob("*.JPEG"))
        if not images:
            raise Fault(f"{folder}: train/{name}/images holds no images; unpack the archive again")
        labelled += [(image, name) for image in images]
    return labelled


def _val(folder: Path) -> Labelled:
    """The validation images in the order of their list: name, class, box."""
    path = folder / "val" / "val_annotations.txt"
    labelled: Labelled = []
    for number, line in enumerate(_lines(path), start=1):
        name, tab, rest = line.partition("\t")
        if not tab:
            raise Fault(f"{path}: line {number} names no class; unpack the archive again")
        labelled.append((folder / "val" / "images" / name, rest.partition("\t")[0]))
    return labelled


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise Fault(
            f"{path} is missing: wanted is the layout of the archive; a set that was sorted into"
            " class folders is read as folder:PATH"
        )
    return [line for line in read(path).decode(errors="replace").splitlines() if line.strip()]


def _words(folder: Path, classes: list[str]) -> tuple[str, ...]:
    """The first of the words of each class; its id where it has none, or shares it."""
    known = dict(line.partition("\t")[::2] for line in _lines(folder / "words.txt"))
    words = [known.get(name, name).partition(",")[0].strip() for name in classes]
    return tuple(
        word if words.count(word) == 1 else name for word, name in zip(words, classes, strict=True)
    )


def _decode(labelled: Labelled, classes: list[str], size: int) -> Resident:
    numbers = {name: number for number, name in enumerate(classes)}
    for path, name in labelled:
        if name not in numbers:
            raise Fault(f"{path}: its class {name} is not in wnids.txt; unpack the archive again")
        if not path.is_file():
            raise Fault(f"{path} is missing; unpack the archive again")
    files = tuple(path for path, _ in labelled)
    first = files[0].parent.resolve()
    originals = Files(files, first, f"tiny-imagenet from {first}")
    images, broken = decode_all(originals, size)
    if broken:
        row, reason = broken[0]
        raise Fault(
            f"{files[row]}: does not decode as an image ({reason}); unpack the archive again"
        )
    return Resident(images, torch.tensor([numbers[name] for _, name in labelled]))
