"""A table of images: one row a file, with its class and its part where there are any."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from os.path import join, normpath
from pathlib import Path
from typing import Any

from relatum.datasets.dataset import Dataset
from relatum.datasets.originals import Files
from relatum.datasets.own import Part, Reading, dataset_of
from relatum.spelling import TABLES, path_of
from relatum.table_names import file_and_columns
from relatum.types import Fault, first_line

COLUMNS = {
    "image": ("image", "path", "file", "filename", "file_name", "filepath", "image_path", "img"),
    "label": ("label", "class", "target", "category", "class_name"),
    "split": ("split", "part", "subset", "fold"),
}
"""What the columns may be called where nobody names them; the first that is there is taken."""
TRAIN = ("train", "training")
TESTS = ("test", "val", "valid", "validation", "dev")
"""What the split of the test part may be called; the first that is there is taken."""

Column = list[str]


def load(text: str, reading: Reading) -> Dataset:
    """The images that a CSV, TSV or Parquet file lists, in its order.

    A column holds their paths, absolute or relative to the table. Another one, if it is there,
    their classes; without it the set has no labels. A third one, if it is there, says of each
    ``train`` or ``test`` (``val``, …, if there is no ``test``); without it a fifth is held back.
    Names of columns are found, or given: ``photos.csv#image=where,label=what,split=part``.
    Quotes, separators (comma, semicolon, tab) and UTF-8 are as spreadsheets write them.

    Args:
        text: the file, and behind ``#`` what its columns are called.
        reading: how the images are wanted.

    Raises:
        Fault: the file is missing or no table, has no such column, leaves out the path or the
            class of an image, lists one image in two parts or with two classes (or twice, where
            a fifth is held back), or names images that cannot be read.
    """
    path, asked = _parse(text)
    columns = _columns(path)
    found = _chosen(path, columns, asked)
    images = columns[found["image"]]
    _check_full(path, found["image"], images)
    labels = columns[found["label"]] if "label" in found else None
    if labels is not None:
        labels = _without_nan(labels)
    if labels is not None and not any(labels):
        labels = None
    if labels is not None:
        _check_full(path, found["label"], labels)
    split = columns[found["split"]] if "split" in found else None
    rows, note = _parts(path, split, len(images))
    _check_once(path, rows, images, labels)
    parts = [_part(path, place, each, images, labels) for place, each in enumerate(rows)]
    test = parts[1] if len(parts) > 1 else None
    return dataset_of(f"table:{path}", parts[0], test, reading, note=note)


def _parse(text: str) -> tuple[Path, Mapping[str, str]]:
    file, asked = file_and_columns(text, TABLES, COLUMNS)
    path = path_of(file)
    if not path.is_file():
        raise Fault(f"{path}: there is no such table; give the path of a CSV or Parquet file")
    return path, asked


def _columns(path: Path) -> dict[str, Column]:
    """Every column as texts; what is not there is empty."""
    try:
        columns = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except OSError as error:
        raise Fault(f"{path}: cannot be read ({error.strerror}); mend that") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Fault(f"{path}: is no table of text ({first_line(error)})") from error
    if not columns or not next(iter(columns.values())):
        raise Fault(f"{path}: the table has no rows")
    return columns


def _csv(path: Path) -> dict[str, Column]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        separator = max(",;\t", key=head.count)
        rows = [row for row in csv.reader(file, delimiter=separator) if row]
    if not rows:
        return {}
    names = [each.strip() for each in rows[0]]
    _check_names(path, names)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise Fault(f"{path}: row {number} has {len(row)} columns, the first has {len(names)}")
    return {name: [row[place].strip() for row in rows[1:]] for place, name in enumerate(names)}


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse two columns of one name. Those without one nobody can ask for."""
    twice = [each for each, count in Counter(names).items() if each and count > 1]
    if twice:
        raise Fault(f"{path}: two columns are called {twice[0]!r}; rename one or leave it out")


def _parquet(path: Path) -> dict[str, Column]:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        plain: list[str] = []
        for each in parquet.read_schema(path):
            if _is_image(arrow, each.type):
                raise Fault(
                    f"{path}: its column {each.name!r} holds the images themselves, and a table"
                    f" lists files: name it hf:{path}"
                )
            plain.append(each.name)
        _check_names(path, plain)
        table: Any = parquet.read_table(path, columns=plain)
    except arrow.ArrowException as error:
        raise Fault(f"{path}: damaged Parquet ({first_line(error)})") from error
    return {name: [_text(each) for each in table[name].to_pylist()] for name in table.column_names}


def _text(value: Any) -> str:
    """A cell as a text; pandas writes not-a-number where there is none."""
    return "" if value is None or value != value else str(value)


def _is_image(arrow: Any, kind: Any) -> bool:
    inside = {each.name for each in kind} if arrow.types.is_struct(kind) else set[str]()
    return "bytes" in inside or bool(arrow.types.is_binary(kind))


def _chosen(path: Path, columns: Mapping[str, Column], asked: Mapping[str, str]) -> dict[str, str]:
    """Which column is what."""
    found: dict[str, str] = {}
    folded = {name.lower(): name for name in reversed(list(columns))}
    for role, usual in COLUMNS.items():
        if role in asked:
            if asked[role] not in columns:
                near = get_close_matches(asked[role], columns, n=1, cutoff=0.0)
                raise Fault(
                    f"{path}: has no column {asked[role]!r}; the nearest is {near[0]!r}, there are"
                    f" {', '.join(columns)}"
                )
            found[role] = asked[role]
        elif name := next((folded[each] for each in usual if each in folded), None):
            found[role] = name
    if "image" not in found:
        raise Fault(
            f"{path}: which column holds the paths of the images? There are {', '.join(columns)};"
            f" name it behind '#': {path.name}#image={next(iter(columns))}"
        )
    return found


def _without_nan(labels: Column) -> Column:
    """Not-a-number among numbers is no class: it stands where there is none."""
    rest = [each for each in labels if each.lower() != "nan"]
    if len(rest) == len(labels) or not all(map(_is_number, rest)):
        return labels
    return ["" if each.lower() == "nan" else each for each in labels]


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _check_full(path: Path, name: str, column: Column) -> None:
    empty = [row for row, each in enumerate(column, start=2) if not each]
    if empty:
        raise Fault(
            f"{path}: {len(empty):,} of {len(column):,} rows have nothing in column {name!r}, the"
            f" first is row {empty[0]}; fill them or leave them out"
        )


def _parts(path: Path, split: Column | None, count: int) -> tuple[list[list[int]], str]:
    """The rows of the training part and, where it is named, of the test part; a word on it."""
    if split is None:
        return [list(range(count))], ""
    folded = [each.lower() for each in split]
    there = set(folded)
    test = next((each for each in TESTS if each in there), None)
    train = next((each for each in TRAIN if each in there), None)
    if train is None:
        raise Fault(
            f"{path}: the column of parts names none {TRAIN[0]!r}; it has"
            f" {', '.join(sorted(there)[:5])}"
        )
    learnt = [row for row, each in enumerate(folded) if each == train]
    if test is None:
        return [learnt], ""
    rest = sorted(there - {train, test})
    left = f"; what is {' or '.join(map(repr, rest[:3]))} is left out" if rest else ""
    judged = [row for row, each in enumerate(folded) if each == test]
    return [learnt, judged], f"test part: what the table calls {test!r}{left}"


def _check_once(
    path: Path, parts: Sequence[Sequence[int]], images: Column, labels: Column | None
) -> None:
    """Refuse an image that is judged on and learnt from, or may be so, or that has two classes.

    By its path as it is written: no link is followed, which would take minutes for a million.
    """
    top = str(path.parent)
    first: dict[str, tuple[int, int]] = {}
    for part, rows in enumerate(parts):
        for row in rows:
            here = (row, part)
            before, of = there = first.setdefault(normpath(join(top, images[row])), here)
            if of != part:
                said = "to learn from and for the test part: the test would tell nothing"
            elif labels is not None and labels[before] != labels[row]:
                said = f"as {labels[before]!r} and as {labels[row]!r}: an image has one class"
            elif there != here and len(parts) == 1:
                said = "both: what is held back to test by might be learnt from too"
            else:
                continue
            raise Fault(
                f"{path}: rows {before + 2} and {row + 2} list {images[row]!r} {said}; leave one"
                " out"
            )


def _part(
    path: Path, place: int, rows: Sequence[int], images: Column, labels: Column | None
) -> Part:
    top = path.parent
    files = tuple(top / images[row] for row in rows)
    where = f"table {path.resolve()} part {place}"
    return Part(Files(files, top, where), None if labels is None else [labels[row] for row in rows])
