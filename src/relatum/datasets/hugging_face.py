"""Sets of the Hugging Face hub, and those that were saved from there: read by ``datasets``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relatum.datasets.dataset import Dataset
from relatum.datasets.own import HELD, Part, Reading, dataset_of
from relatum.spelling import path_of
from relatum.types import Fault, first_line

TESTS = ("test", "validation", "valid", "val")
"""What the split of the test part may be called; the first that is there is taken."""
SAVED = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` leaves."""
FILES = {".parquet": "parquet", ".arrow": "arrow"}
"""Files of which one alone is a set."""


@dataclass(frozen=True)
class Cells:
    """Images that are cells of an Arrow table, which lies on disk and is mapped into memory.

    Attributes:
        rows: of ``datasets``, with the column of images alone, not decoded.
        column: what that is called.
        names: of each.
        where: as of ``Originals``.
    """

    rows: Any = field(repr=False)
    column: str
    names: tuple[str, ...] = field(repr=False)
    where: str

    def read(self, row: int) -> Path | bytes:
        """The bytes of an image, or its file."""
        cell = self.rows[row][self.column][0].as_py() or {}
        if cell.get("bytes"):
            return bytes(cell["bytes"])
        if cell.get("path"):
            return Path(cell["path"])
        return b""

    def fingerprint(self) -> str:
        """As ``datasets`` keeps it: another one whenever the table is made anew."""
        return str(self.rows._fingerprint)


def load(text: str, reading: Reading, download: bool = False) -> Dataset:
    """A set by its name on the hub, ``OWNER/NAME``, or by its folder or Parquet file here.

    The column of images and that of classes are found by what ``datasets`` says they are
    (``Image``, ``ClassLabel``); the first of each is taken. A column ``label`` of numbers or texts
    does for classes. The training part is the split ``train``, the test part ``test`` or
    ``validation``; without one a fifth of the training part is held back. Classes of -1 or none
    at all, as in tests that are judged elsewhere, are no labels: such a split is passed over.

    Args:
        text: the name or path, and behind ``#`` the configuration, where there are several.
        reading: how the images are wanted.
        download: fetch what is not here; nothing is fetched otherwise.

    Raises:
        Fault: ``datasets`` is not installed, the set is not here, it has no images, or some of
            them have a class and others none, or one that its column does not name.
    """
    source, _, config = text.partition("#")
    splits = _opened(source, config or None, download)
    if "train" not in splits and len(splits) > 1:
        raise Fault(f"hf:{text}: has no split 'train'; there are {', '.join(splits)}")
    first = "train" if "train" in splits else next(iter(splits))
    image, label = _columns(text, splits[first])
    train = _part(text, first, splits[first], image, label)
    tests = {
        each: _part(text, each, splits[each], image, label)
        for each in TESTS
        if each in splits and each != first
    }
    usable = [each for each, part in tests.items() if part.labels or not train.labels]
    judged = tests[usable[0]] if usable else None
    note = f"test part: the split {usable[0]!r}" if usable else HELD
    if label:
        bare = [each for each, part in {first: train, **tests}.items() if not part.labels]
        note += "".join(f"; the split {each!r} has no labels" for each in bare)
    classes = _classes(splits[first], label) if label else None
    return dataset_of(f"hf:{text}", train, judged, reading, classes=classes, note=note)


def _opened(source: str, config: str | None, download: bool) -> dict[str, Any]:
    """The splits of a set, by name."""
    try:
        import datasets
    except ImportError as error:
        raise Fault(
            f"hf:{source} is read by the datasets package: pip install 'relatum[datasets]'"
        ) from error
    path = path_of(source)
    with _quiet(source, download):
        if path.is_dir() and any((path / name).is_file() for name in SAVED):
            found: Any = datasets.load_from_disk(str(path))
        elif path.suffix in FILES and path.is_file():
            found = datasets.load_dataset(FILES[path.suffix], data_files=str(path))
        elif path.is_dir():
            found = datasets.load_dataset(str(path), config)
        else:
            if path.is_absolute() or source.startswith((".", "~")):
                raise Fault(f"{path}: there is no such set; give the folder of one")
            found = datasets.load_dataset(source, config)
    return dict(found) if isinstance(found, dict) else {"train": found}


@contextmanager
def _quiet(source: str, download: bool) -> Iterator[None]:
    """No network and no bars where nothing is fetched, and one line for whatever may go wrong."""
    from datasets import config, utils
    from huggingface_hub import constants

    shown = not utils.are_progress_bars_disabled()
    offline = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if not download:
        utils.disable_progress_bars()
        # each package read the environment when it was imported
        config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Fault:
        raise
    # what a hub, a builder and Arrow may raise has no common name
    except Exception as error:
        here = path_of(source).exists()
        way = "mend it" if here or download else "run again with --download"
        raise Fault(f"hf:{source} cannot be loaded ({first_line(error)}); {way}") from error
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = offline
        if shown:
            utils.enable_progress_bars()


def _columns(text: str, rows: Any) -> tuple[str, str | None]:
    """Which column holds the images, and which the classes."""
    from datasets import ClassLabel, Image

    images = [name for name, kind in rows.features.items() if isinstance(kind, Image)]
    if not images:
        raise Fault(
            f"hf:{text}: no column holds images; there are"
            f" {', '.join(f'{name} ({kind})' for name, kind in rows.features.items())[:200]}"
        )
    labels = [name for name, kind in rows.features.items() if isinstance(kind, ClassLabel)]
    plain = [
        name
        for name, kind in rows.features.items()
        if name.lower() in ("label", "class")
        and (str(getattr(kind, "dtype", "")).startswith(("int", "uint", "string")))
    ]
    return images[0], next(iter([*labels, *plain]), None)


def _classes(rows: Any, label: str) -> Sequence[str] | None:
    names = getattr(rows.features[label], "names", None)
    return None if names is None else [str(each) for each in names]


def _labels(name: str, split: str, rows: Any, label: str) -> list[str] | None:
    """The class of each image, or ``None`` if none has one: -1 on the hub, or nothing."""
    numbers = rows[label][:] if not isinstance(rows[label], list) else rows[label]
    names = _classes(rows, label)
    lacking = sum(each is None or each == -1 for each in numbers)
    if lacking == len(numbers):
        return None
    if lacking:
        raise Fault(
            f"{name}: {lacking:,} of {len(numbers):,} images of the split {split!r} have no"
            f" {label}; leave them out"
        )
    if names is None:
        return [str(each) for each in numbers]
    for row, each in enumerate(numbers):
        if not 0 <= each < len(names):
            raise Fault(
                f"{name}: image {row:,} of the split {split!r} has the class {each}, and its column"
                f" {label!r} names {len(names)}, from 0 on; mend that"
            )
    return [names[each] for each in numbers]


def _part(text: str, split: str, rows: Any, image: str, label: str | None) -> Part:
    from datasets import Image

    if rows._indices is not None:
        rows = rows.flatten_indices()
    labels = None if label is None else _labels(f"hf:{text}", split, rows, label)
    plain = rows.cast_column(image, Image(decode=False)).select_columns([image])
    width = len(str(len(plain)))
    cells = Cells(
        plain.with_format("arrow"),
        image,
        tuple(f"{split}/{row:0{width}d}" for row in range(len(plain))),
        f"hf:{text} {split} {os.path.abspath(text) if os.path.exists(text) else ''}",
    )
    return Part(cells, labels)
