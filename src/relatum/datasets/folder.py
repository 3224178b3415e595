"""A user's own folder of images, with classes or without."""

from collections.abc import Iterator
from pathlib import Path

from relatum.datasets.dataset import Dataset
from relatum.datasets.originals import Files
from relatum.datasets.own import SIZE, Part, Reading, dataset_of
from relatum.datasets.picture import EXTENSIONS, shown
from relatum.types import Fault

TESTS = ("test", "val", "valid", "validation")
"""What the folder of the test part may be called; the first that is there is taken."""

Found = dict[str, list[Path]]
"""The images of each class folder; those in none are under the empty name."""


def load(path: Path, image_size: int | None = None, reading: Reading | None = None) -> Dataset:
    """The images of a folder, their shorter side resized and the centre cut out.

    Layouts: ``PATH/train/CLASS/*`` with ``PATH/test/CLASS/*`` (or ``val``, if there is no
    ``test``); ``PATH/CLASS/*``, of which a stratified fifth, always the same, is held back as
    the test part; either without class folders, which gives no labels. A single class folder
    gives none either. Class folders may have folders in them. Hidden files and files that
    are no images by their names are passed over.

    Args:
        path: the folder.
        image_size: height and width in pixels, 64 when ``None``.
        reading: how the images are wanted, their size included, where somebody says so.

    Raises:
        Fault: there is nothing to read, images that cannot be read, a test class that is
            not a training class, or images both in class folders and beside them.
    """
    if reading is None:
        reading = Reading(SIZE if image_size is None else image_size)
    if not path.is_dir():
        raise Fault(f"{path}: there is no such folder; give the path of a folder of images")
    try:
        return _load(path, reading)
    except OSError as error:
        raise Fault(f"{error.filename}: cannot be read ({error.strerror}); mend that") from error


def _load(path: Path, reading: Reading) -> Dataset:
    train_path, test_path = _parts(path)
    found = _find(train_path)
    test: Part | None = None
    note = ""
    if test_path is not None:
        test_found = _find(test_path)
        if strange := sorted(test_found.keys() - found.keys()):
            known = ", ".join(name for name in found if name) or "no class folders"
            raise Fault(
                f"{test_path}: class {strange[0] or 'of images in no folder'!r} is not in"
                f" {train_path}, which has {known}; use the same class folders in both"
            )
        test = _part(path, test_path, test_found)
        note = f"test part: {test_path.name}/"
    train = _part(path, train_path, found)
    classes = tuple(map(shown, found))
    return dataset_of(f"folder:{path}", train, test, reading, classes=classes, note=note)


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


def _part(top: Path, path: Path, found: Found) -> Part:
    files = tuple(file for images in found.values() for file in images)
    labels = [shown(name) for name, images in found.items() for _ in images]
    return Part(Files(files, top, f"folder {path.resolve()}"), labels)
