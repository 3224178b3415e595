"""Sets of the Hugging Face hub, and those that were saved from there: read by ``datasets``."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relatum.datasets.dataset import Dataset
from relatum.datasets.features import classes_of, columns
from relatum.datasets.own import HELD, Part, Reading, dataset_of
from relatum.spelling import path_of
from relatum.types import Fault, first_line

TESTS = ("test", "validation", "valid", "val")
"""What the split of the test part may be called; the first that is there is taken."""
SAVED = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` leaves."""
ROLES = ("image", "label", "train", "test")
"""What may be named behind ``#``: two columns, and two splits."""
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
    at all, as in tests that are judged elsewhere, are no labels: such a split is passed over,
    unless it is the one that was named.
    Columns and splits may be named too: ``hf:NAME#image=photo,label=kind,train=all,test=held``.

    Args:
        text: the name or path, and behind ``#`` the configuration, where there are several, and
            what columns and splits are called.
        reading: how the images are wanted.
        download: fetch what is not here; nothing is fetched otherwise.

    Raises:
        Fault: ``datasets`` is not installed, the set is not here, it has no images or no such
            column or split, or some of the images have a class and others none, or one that its
            column does not name, or the split that was named as the test part has none.
    """
    source, config, asked = _parse(text)
    splits = _opened(source, config, download)
    first, judges = _splits(text, splits, asked)
    image, label = columns(f"hf:{text}", splits[first], asked)
    train = _part(text, first, splits[first], image, label)
    tests = {each: _part(text, each, splits[each], image, label) for each in judges}
    usable = [each for each, part in tests.items() if part.labels or not train.labels]
    if "test" in asked and not usable:
        raise Fault(
            f"hf:{text}: the split {asked['test']!r} has no labels and {first!r} has; name another"
            " behind '#', or none: a fifth is then held back"
        )
    judged = tests[usable[0]] if usable else None
    note = f"test part: the split {usable[0]!r}" if usable else HELD
    if label:
        bare = [each for each, part in {first: train, **tests}.items() if not part.labels]
        note += "".join(f"; the split {each!r} has no labels" for each in bare)
    classes = classes_of(splits[first], label) if label else None
    return dataset_of(f"hf:{text}", train, judged, reading, classes=classes, note=note)


def _parse(text: str) -> tuple[str, str | None, Mapping[str, str]]:
    """The name or path, the configuration, and what columns and splits are called."""
    source, _, rest = text.partition("#")
    config: str | None = None
    asked: dict[str, str] = {}
    for each in filter(None, map(str.strip, rest.split(","))):
        role, equals, name = each.partition("=")
        if equals and role in ROLES and name:
            asked[role] = name
        elif equals or config is not None:
            raise Fault(
                f"hf:{text}: behind '#' stands a configuration, and what columns and splits are"
                f" called, {', '.join(f'{role}=…' for role in ROLES)}; got {each!r}"
            )
        else:
            config = each
    return source, config, asked


def _splits(
    text: str, splits: Mapping[str, Any], asked: Mapping[str, str]
) -> tuple[str, list[str]]:
    """The split that is learnt from, and those that may be judged on, the best first."""
    there = ", ".join(splits)
    for role in ("train", "test"):
        if role in asked and asked[role] not in splits:
            raise Fault(f"hf:{text}: has no split {asked[role]!r}; there are {there}")
    if "train" not in {*splits, *asked} and len(splits) > 1:
        raise Fault(
            f"hf:{text}: has no split 'train'; there are {there}: name one behind '#',"
            f" train={next(iter(splits))}"
        )
    first = asked.get("train", "train" if "train" in splits else next(iter(splits)))
    if asked.get("test") == first:
        raise Fault(f"hf:{text}: learns from the split {first!r}, and cannot be judged on it too")
    judges = [asked["test"]] if "test" in asked else [each for each in TESTS if each in splits]
    return first, [each for each in judges if each != first]


def _opened(source: str, config: str | None, download: bool) -> dict[str, Any]:
    """The splits of a set, by name."""
    try:
        import datasets
    except ImportError as error:
        raise Fault(
            f"hf:{source} is read by the datasets package: pip install 'relatum[datasets]'"
        ) from error
    path = path_of(source)
    saved = path.is_dir() and any((path / name).is_file() for name in SAVED)
    if config is not None and (saved or path.is_file()):
        raise Fault(f"hf:{source}: a saved set has no configurations; leave '#{config}' out")
    with _quiet(source, download):
        if saved:
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

    shown, said = not utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    offline = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    utils.logging.set_verbosity(utils.logging.CRITICAL)  # what it has to say is in its errors
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
        way = "mend it" if here or download else "run again with --download, or mend the path"
        raise Fault(f"hf:{source} cannot be loaded ({first_line(error)}); {way}") from error
    finally:
        utils.logging.set_verbosity(said)
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = offline
        if shown:
            utils.enable_progress_bars()


def _labels(name: str, split: str, rows: Any, label: str) -> list[str] | None:
    """The class of each image, or ``None`` if none has one: -1, nothing, or no such column."""
    if label not in rows.features:
        return None
    numbers = rows[label][:] if not isinstance(rows[label], list) else rows[label]
    names = classes_of(rows, label)
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

    if image not in rows.features:
        raise Fault(f"hf:{text}: the split {split!r} has no column {image!r}; give it one")
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
