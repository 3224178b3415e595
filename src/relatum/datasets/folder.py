"""A user's own folder of images, with classes or without."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from relatum.data.resident import Resident, cut
from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import remembered
from relatum.datasets.picture import EXTENSIONS, pictures
from relatum.types import Fault

SIZE = 64
HELD_BACK = 0.2
SEED = 0
TESTS = ("test", "val", "valid", "validation")
"""What the folder of the test part may be called; the first that is there is taken."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which pretrained networks want."""

Found = dict[str, list[Path]]
"""The images of each class folder; those in none are under the empty name."""


def load(path: Path, image_size: int | None = None) -> Dataset:
    """The images of a folder, their shorter side resized and the centre cut out.

    Layouts: ``PATH/train/CLASS/*`` with ``PATH/test/CLASS/*`` (or ``val``, if there is no
    ``test``); ``PATH/CLASS/*``, of which a stratified fifth, always the same, is held back as
    the test part; either without class folders, which gives no labels. A single class folder
    gives none either. Class folders may have folders in them. Hidden files and files that
    are no images by their names are passed over.

    Args:
        path: the folder.
        image_size: height and width in pixels, 64 when ``None``.

    Raises:
        Fault: there is nothing to read, an image that does not decode, a test class that is
            not a training class, or images both in class folders and beside them.
    """
    size = SIZE if image_size is None else image_size
    if size < 1:
        raise Fault(f"images are at least one pixel high, got an image_size of {size}")
    if not path.is_dir():
        raise Fault(f"{path}: there is no such folder; give the path of a folder of images")
    try:
        return _load(path, size)
    except OSError as error:
        raise Fault(f"{error.filename}: cannot be read ({error.strerror}); mend that") from error


def _load(path: Path, size: int) -> Dataset:
    train_path, test_path = _parts(path)
    found = _find(train_path)
    classes = tuple(found) if len(found) > 1 else ()
    train = _decode(train_path, found, classes, size)
    if test_path is None:
        if not round(HELD_BACK * len(train)):
            raise Fault(
                f"{train_path}: {len(train)} images are too few to hold a fifth back; add images,"
                " or make folders train/ and test/"
            )
        train, test = cut(train, HELD_BACK, SEED)
        note = "test part: a fifth held back, always the same"
    else:
        test_found = _find(test_path)
        if strange := sorted(test_found.keys() - found.keys()):
            known = ", ".join(name for name in found if name) or "no class folders"
            raise Fault(
                f"{test_path}: class {strange[0] or 'of images in no folder'!r} is not in"
                f" {train_path}, which has {known}; use the same class folders in both"
            )
        test = _decode(test_path, test_found, classes, size)
        note = f"test part: {test_path.name}/"
    return Dataset(f"folder:{path}", train, test, classes, MEAN, STD, note)


def _parts(path: Path) -> tuple[Path, Path | None]:
    """Where to learn from and where to test. A class may be called "train", too."""
    inside = [entry.name for entry in _visible(path) if entry.is_dir()]
    tests = [name for name in TESTS if name in inside]
    if "train" in inside and tests:
        return path / "train", path / tests[0]
    return (path / "train" if inside == ["train"] else path), None


def _find(path: Path) -> Found:
    """Images by class, classes and images in the order of their names."""
    entries = _visible(path)
    flat = [entry for entry in entries if _is_image(entry) and not entry.is_dir()]
    nested = {entry.name: list(_walk(entry)) for entry in entries if entry.is_dir()}
    if not flat and not any(nested.values()):
        raise Fault(f"{path}: holds no images ({' '.join(EXTENSIONS)}); give another folder")
    if flat and any(nested.values()):
        name = next(name for name, images in nested.items() if images)
        raise Fault(
            f"{path}: has images beside class folders ({flat[0].name} beside {name}/); move them"
            " into a class folder, or all images into one folder to go without labels"
        )
    if flat:
        return {"": flat}
    for name, images in nested.items():
        if not images:
            raise Fault(f"{path / name}: the class folder holds no images; fill it or remove it")
    return nested


def _visible(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _walk(top: Path) -> Iterator[Path]:
    """All images under a folder; a folder that links lead to again is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        here = waiting.pop()
        status = here.stat()
        if (place := (status.st_dev, status.st_ino)) in entered:
            continue
        entered.add(place)
        entries = _visible(here)
        yield from (entry for entry in entries if _is_image(entry) and not entry.is_dir())
        waiting.extend(entry for entry in reversed(entries) if entry.is_dir())


def _decode(path: Path, found: Found, classes: tuple[str, ...], size: int) -> Resident:
    files = [file for images in found.values() for file in images]
    for file in files:
        if not file.exists():
            raise Fault(f"{file}: is a link that leads nowhere; mend it or remove it")

    def decode() -> dict[str, Tensor]:
        return {"images": pictures(files, size)}

    images = remembered(f"folder {path.resolve()} at {size}", files, decode)["images"]
    if not classes:
        return Resident(images)
    labels = [classes.index(name) for name, images in found.items() for _ in images]
    return Resident(images, torch.tensor(labels))
