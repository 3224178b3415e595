"""A table in Parquet or CSV: which columns are the embedding, the logits and the key.

Values are one column of lists, all of one length, or one column for each dimension, whose names
end in numbers (``e0``, ``e1`` …). A key is a column of file names, or of whole numbers.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relatum.tables.arrow import arrow_table
from relatum.teacher_names import TableName
from relatum.types import Fault

Keys = tuple[str, ...] | Tensor | None
Columns = tuple[dict[str, Tensor], Keys]
"""The values by name, and what their rows are keyed by."""

EMBEDDINGS = ("embedding", "embeddings", "feature", "features", "vector", "emb", "e")
LOGITS = ("logits", "logit", "output", "outputs", "scores")
FILES = ("file_name", "filename", "file", "path", "filepath", "image", "name", "key", "id")
INDICES = ("index", "idx", "key", "id", "row", "__index_level_0__")
"""What columns are usually called, the likeliest first."""
_NUMBERED = re.compile(r"(?P<prefix>.*?)[_.]?(?P<number>[0-9]+)")


def columns_of(name: TableName) -> Columns:
    """Read a table of columns.

    Raises:
        Fault: the file is damaged, a column is not there, or it cannot be seen which is what.
    """
    both, named = set(FILES) & set(INDICES), name.column("key")
    table = arrow_table(name.path, _is_name, lambda each: each == named or each.lower() in both)
    lists, groups = _lists(table), _groups(table)
    wanted = {role: column for role, column in name.columns if role != "key"}
    found = _found(name, wanted, [*lists, *groups])
    key = _key(name, table)
    values = {
        "output" if role == "logits" else role: (
            _of_lists(name.path, column, table[column])
            if column in lists
            else _of_numbers(name.path, table, groups[column])
        )
        for role, column in found.items()
    }
    return values, None if key is None else _keys(name.path, key, table[key])


def indices(values: Tensor, path: Path, column: str) -> Tensor:
    """Whole numbers that say which image a row is of.

    Raises:
        Fault: they are none, or one is below zero.
    """
    if values.is_floating_point() or values.is_complex() or values.dtype is torch.bool:
        raise Fault(f"{path}: {column!r} holds {values.dtype}; an index is a whole number")
    if values.ndim != 1:
        raise Fault(f"{path}: {column!r} has {values.ndim} axes; wanted one number for each row")
    found = values.long()
    below = (found < 0).nonzero()
    if len(below):  # as is what was beyond int64
        row = int(below[0])
        raise Fault(f"{path}: row {row} has the {column} {values[row].item()}; wanted 0 or more")
    return found


def _is_name(column: str) -> bool:
    """Whether a column is of file names alone, by what it is called."""
    return column.lower() in FILES and column.lower() not in INDICES


def _lists(table: Any) -> list[str]:
    """The columns whose cells are lists of numbers."""
    return [field.name for field in table.schema if _is_list(field.type)]


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(each(kind) for each in lists) and _is_number(kind.value_type)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_floating(kind) or types.is_integer(kind))


def _groups(table: Any) -> dict[str, list[str]]:
    """The columns of numbers that are called alike but for a number, in the order of those."""
    groups: dict[str, dict[int, str]] = {}
    for field in table.schema:
        match = _NUMBERED.fullmatch(field.name)
        if match and _is_number(field.type):
            groups.setdefault(match["prefix"], {})[int(match["number"])] = field.name
    whole = {
        prefix: [columns[number] for number in sorted(columns)]
        for prefix, columns in groups.items()
        if len(columns) > 1 and sorted(columns) in _counted(len(columns))
    }
    return whole


def _counted(length: int) -> tuple[list[int], list[int]]:
    return list(range(length)), list(range(1, length + 1))


def _found(name: TableName, wanted: dict[str, str], there: Sequence[str]) -> dict[str, str]:
    """The column, or the prefix of columns, of each role."""
    for role, column in wanted.items():
        if column not in there:
            has = ", ".join(each or "columns called by numbers" for each in there) or "none"
            raise Fault(f"{name.path}: no lists of numbers {column!r} ({role}); those are: {has}")
    found = dict(wanted)
    free = [each for each in there if each not in found.values()]
    for role, usual in (("embedding", EMBEDDINGS), ("logits", LOGITS)):
        named = [each for each in free if each.lower() in usual]
        if len(named) == 1:
            found.setdefault(role, named[0])
    free = [each for each in free if each not in found.values()]
    if not found and len(free) == 1:
        found["embedding"] = free[0]
    if not found:
        has = ", ".join(map(repr, there)) or "none"
        raise Fault(
            f"{name.path}: which column is the embedding? those of numbers are {has}; say"
            f" table:{name.path}#embedding=COLUMN (or a prefix, of one column a dimension)"
        )
    return found


def _key(name: TableName, table: Any) -> str | None:
    """The column that says which image a row is of; ``None`` where there is none."""
    from pyarrow import types

    named = name.column("key")
    if named is not None and named not in table.column_names:
        raise Fault(f"{name.path}: no column {named!r} (key); {', '.join(table.column_names)}")
    if named is not None:
        return named
    texts: list[str] = [field.name for field in table.schema if _is_text(field.type)]
    numbers: list[str] = [field.name for field in table.schema if types.is_integer(field.type)]
    files = [*texts, *filter(_is_name, numbers)]  # 1000.jpg may be there as the number 1000
    for likely, there in ((FILES, files), (INDICES, numbers)):
        for usual in likely:
            same = [each for each in there if each.lower() == usual]
            if same:
                return same[0]
        if there is files and len(texts) == 1 and _tells_apart(table[texts[0]]):
            return texts[0]
    _refuse_unread(name.path, table)
    if len(texts) == 1:
        return texts[0]
    if texts:
        raise Fault(
            f"{name.path}: which column has the file names? {', '.join(texts)}; say"
            f" table:{name.path}#key=COLUMN"
        )
    return None


def _refuse_unread(path: Path, table: Any) -> None:
    """Refuse what is called like a key and is none: rows would be taken by their order instead."""
    from pyarrow import types

    for field in table.schema:
        called = field.name.lower()
        if called in (*FILES, *INDICES) and not (
            _is_text(field.type) or types.is_integer(field.type) or _is_list(field.type)
        ):
            wanted = "file names are UTF-8 text" if called in FILES else "an index is whole numbers"
            raise Fault(
                f"{path}: {field.name!r} holds {field.type!s:.40}; {wanted}: mend the column,"
                " name another (#key=COLUMN), or leave it out if rows are in the set's order"
            )


def _tells_apart(cells: Any) -> bool:
    """Whether no two rows have the same: file names do, and labels do not."""
    return len(cells.unique()) == len(cells)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _keys(path: Path, column: str, values: Any) -> tuple[str, ...] | Tensor:
    from pyarrow import types

    _refuse_nulls(path, column, values)
    if _is_text(values.type):
        return tuple(values.to_pylist())
    if types.is_integer(values.type) and _is_name(column):
        return tuple(map(str, values.to_pylist()))
    if not types.is_integer(values.type):
        raise Fault(f"{path}: {column!r} holds {values.type}; a key is a file name or an index")
    numbers = values.to_numpy()
    if numbers.dtype == np.uint64 and int(numbers.max()) > np.iinfo(np.int64).max:
        row = int(numbers.argmax())
        raise Fault(f"{path}: row {row} has the {column} {numbers[row]}, which is no image's index")
    return indices(torch.from_numpy(numbers.astype(np.int64)), path, column)


def _refuse_nulls(path: Path, column: str, values: Any) -> None:
    if values.null_count:
        row = int(np.argmax(values.is_null().to_numpy()))
        raise Fault(f"{path}: row {row} has nothing in {column!r}; fill it or leave the row out")


def _of_lists(path: Path, column: str, cells: Any) -> Tensor:
    """A column of lists as rows of a tensor."""
    from pyarrow import compute

    _refuse_nulls(path, column, cells)
    parts: list[np.ndarray] = []
    width, first = 0, 0
    for chunk in cells.chunks:
        chunk = getattr(chunk, "storage", chunk)
        lengths = compute.list_value_length(chunk).to_numpy(zero_copy_only=False)
        width = width if first or not len(lengths) else int(lengths[0])
        uneven = np.flatnonzero(lengths != width)
        if len(uneven):
            row = int(uneven[0])
            raise Fault(
                f"{path}: row {first + row} of {column!r} has {int(lengths[row])} numbers and row 0"
                f" has {width}; all rows of a table are equally long"
            )
        flat = chunk.flatten()
        if flat.null_count:
            row = first + int(np.argmax(flat.is_null().to_numpy(zero_copy_only=False))) // width
            raise Fault(f"{path}: row {row} of {column!r} lacks a number; fill it")
        parts.append(flat.to_numpy(zero_copy_only=False).reshape(len(chunk), width))
        first += len(chunk)
    return _whole(parts)


def _of_numbers(path: Path, table: Any, columns: Sequence[str]) -> Tensor:
    """One column for each dimension as rows of a tensor."""
    for column in columns:
        _refuse_nulls(path, column, table[column])
    kind = np.result_type(*(table[each].type.to_pandas_dtype() for each in columns))
    whole = np.empty((table.num_rows, len(columns)), kind)
    for place, column in enumerate(columns):
        whole[:, place] = table[column].to_numpy()
    return _whole([whole])


def _whole(parts: Sequence[np.ndarray]) -> Tensor:
    whole = np.concatenate(parts) if len(parts) > 1 else parts[0].copy()
    if whole.dtype.kind == "u" and whole.dtype.itemsize > 1:
        whole = whole.astype(np.float32)  # torch computes with no unsigned numbers but bytes
    return torch.from_numpy(whole)
