"""Which row of a table is of which image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relatum.data import ImageSet
from relatum.datasets import Dataset
from relatum.tables.read import Table
from relatum.types import Fault

NAMED = 3
"""How many of what is missing are named."""


@dataclass(frozen=True, eq=False)
class Matched:
    """The rows of a set's images.

    Attributes:
        train: a row for each image of the training part, before anything is cut from it; −1 where
            there is none.
        test: likewise, of the test part.
        notes: what was decided by itself, in sentences.
    """

    train: Tensor
    test: Tensor
    notes: tuple[str, ...] = ()


def match(table: Table, source: Dataset) -> Matched:
    """Find the row of every image of a set, by file name or by index.

    File names are compared as paths: a key may have folders above those of the set
    (``/data/photos/a/1.jpg`` for ``a/1.jpg``). Where none is found so, names are compared without
    the folder of the part (``train/``), then without any folder, then without their ending, as far
    as that tells all images apart.

    Rows by index, or without a key, are in the order of the training part; or there is one for
    every image. A set whose test part was held back out of one folder then counts all of the
    folder, in its order; another counts its training images first, and then its test images.

    Args:
        table: as it was read.
        source: the set, before anything is cut from it.

    Raises:
        Fault: keys that are twice there with different rows, that a set has no names for, or that
            no image has; or a number of rows that fits neither part nor whole.
    """
    if table.keys is None:
        return _by_number(table, torch.arange(len(table)), source)
    if isinstance(table.keys, Tensor):
        return _by_number(table, table.keys, source)
    if source.train.names is None:
        if all(each.isdecimal() for each in table.keys):
            return _by_number(table, torch.tensor([int(each) for each in table.keys]), source)
        raise Fault(
            f"{table.path} is keyed by names such as {table.keys[0]!r}, and the images of"
            f" {source.name} have none: give them numbers, or leave the key out"
        )
    return _by_name(table, table.keys, source)


def _by_name(table: Table, keys: Sequence[str], source: Dataset) -> Matched:
    parts = [each.names or () for each in (source.train, source.test)]
    for way, name_of in _WAYS.items():
        short = [[name_of(name) for name in part] for part in parts]
        every = [name for part in short for name in part]
        if way != _WHOLE and len(set(every)) < len(every):
            continue  # two images would have one row
        found = _rows_of(table, [name_of(key) for key in keys], frozenset(every))
        train, test = (torch.tensor([found.get(each, -1) for each in part]) for part in short)
        if (train >= 0).any():
            notes = [] if way == _WHOLE else [f"rows of {table.path.name} are found by {way}"]
            return Matched(train, test, (*notes, *_unused(table, train, test)))
    raise Fault(
        f"{table.path} is of other images: it has rows for {keys[0]!r} and so on, and"
        f" {source.name} has {parts[0][0]!r}"
    )


_WHOLE = "path"


def _below(name: str) -> str:
    """A path without the folder of its part, if it is in one."""
    first, slash, rest = name.partition("/")
    return rest if slash and first in _PARTS else name


_PARTS = ("train", "test", "val", "valid", "validation")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    last = _last(name)
    return last.rpartition(".")[0] or last


def _path(name: str) -> str:
    name = name.replace("\\", "/")
    return name.removeprefix("./")


_WAYS: dict[str, Callable[[str], str]] = {
    _WHOLE: _path,
    "their paths below train/ and test/": lambda name: _below(_path(name)),
    "file names alone": lambda name: _last(_path(name)),
    "file names without their endings": lambda name: _stem(_path(name)),
}
"""How names are compared, the surest first."""


def _rows_of(table: Table, keys: Sequence[str], wanted: frozenset[str]) -> dict[str, int]:
    """The row of every name that some key ends in; a key is of the longest such name alone.

    Raises:
        Fault: two rows of one name differ.
    """
    depths = sorted({name.count("/") for name in wanted}, reverse=True)
    found: dict[str, int] = {}
    for row, key in enumerate(keys):
        folders = key.split("/")
        for depth in depths:
            tail = "/".join(folders[-1 - depth :])
            if len(folders) <= depth or tail not in wanted:
                continue
            if (other := found.setdefault(tail, row)) != row:
                _refuse_different(table, tail, other, row)
            break  # b/a/0.jpg is not a/0.jpg, where both are there
    return found


def _refuse_different(table: Table, key: object, one: int, other: int) -> None:
    for name, values in table.values.items():
        if not torch.equal(values[one], values[other]):
            raise Fault(
                f"{table.path}: {key!r} is there twice, in rows {one} and {other}, with"
                f" another {name} each; leave one out"
            )


def _by_number(table: Table, numbers: Tensor, source: Dataset) -> Matched:
    train, test = len(source.train), len(source.test)
    order, back = numbers.sort(stable=True)
    for place in (order[1:] == order[:-1]).nonzero()[:, 0].tolist():
        _refuse_different(table, int(order[place]), int(back[place]), int(back[place + 1]))
    last = int(order[-1])
    full = len(order.unique_consecutive()) == last + 1  # type: ignore[no-untyped-call]
    held_back = source.test.places is not None
    if last >= train + test or (held_back and not (full and last + 1 in (train, train + test))):
        raise Fault(
            f"{table.path} has {len(table):,} rows{_up_to(table, last)}: {source.name} has"
            f" {train:,} training images and {test:,} test images; give a row for each of the"
            f" {train:,}, or of all {train + test:,}, in their order, or key rows by file name"
        )
    if table.keys is None and len(table) not in (train, train + test):
        raise Fault(
            f"{table.path} has {len(table):,} rows and no key: {source.name} has {train:,} training"
            f" images and {test:,} test images; give a row for each of them, or a key"
        )
    rows = torch.full((train + test,), -1)
    rows[numbers] = torch.arange(len(table))
    if held_back and last >= train:
        return Matched(rows[_places(source.train)], rows[_places(source.test)])
    return Matched(rows[:train], rows[train:])


def _up_to(table: Table, last: int) -> str:
    return "" if table.keys is None else f", whose indices end at {last:,}"


def _places(part: ImageSet) -> Tensor:
    return torch.arange(len(part)) if part.places is None else part.places


def _unused(table: Table, *parts: Tensor) -> list[str]:
    used = torch.cat(parts).unique()  # type: ignore[no-untyped-call]
    unused = len(table) - int((used >= 0).sum())
    rows = "row matches" if unused == 1 else "rows match"
    said = f"{unused:,} {rows} no image, of the {len(table):,} in {table.path.name}"
    return [said] * bool(unused)


def of_part(matched: Matched, source: Dataset, data: ImageSet) -> Tensor:
    """The rows of images that were cut or drawn from the training part; −1 where there is none."""
    if data.places is None:
        return matched.train
    whole = _places(source.train)
    place_of = torch.full((int(whole.max()) + 1,), -1)
    place_of[whole] = torch.arange(len(whole))
    return matched.train[place_of[data.places]]


def refuse_missing(table: Table, rows: Tensor, data: ImageSet, what: str) -> None:
    """Refuse a table that lacks images.

    Raises:
        Fault: it does; says how many, and names the first.
    """
    missing = (rows < 0).nonzero()[:, 0]
    if not len(missing):
        return
    raise Fault(
        f"{table.path} has no row for {len(missing):,} of {len(data):,} {what} images:"
        f" {_named(data, missing[:NAMED])}{', …' if len(missing) > NAMED else ''}; add them, or"
        " take those images out"
    )


def _named(data: ImageSet, places: Tensor) -> str:
    if data.names is not None:
        return ", ".join(data.names[each] for each in places.tolist())
    numbers = places if data.places is None else data.places[places]
    return ", ".join(f"image {each}" for each in numbers.tolist())
