"""Open a Parquet or CSV file as an Arrow table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from relatum.types import Fault, first_line

CANONICAL = r"^-?(0|[1-9][0-9]*)$"
"""Whole numbers as they are usually written: ``0001`` is rather a name."""


def arrow_table(
    path: Path, is_name: Callable[[str], bool], is_either: Callable[[str], bool]
) -> Any:
    """Read a file of columns.

    Args:
        path: of the file; one that ends in ``.csv`` has commas, and everything else is Parquet.
        is_name: whether a column of a CSV is text by what it is called: a file may be called
            ``1000``, ``0001.`` or ``2024-01-03``, which look like numbers and a date.
        is_either: likewise, unless all its cells are whole numbers as they are usually written.

    Raises:
        Fault: the file is damaged, no UTF-8, has no rows, or has a column twice.
    """
    try:
        import pyarrow as arrow
        from pyarrow import csv, parquet
    except ImportError as error:
        raise Fault(f"{path}: reading it needs pyarrow: pip install pyarrow") from error
    separated = path.suffix.lower() == ".csv"
    try:
        table = csv.read_csv(path) if separated else parquet.read_table(path)
        names: list[str] = table.column_names  # decoded here, and not before
        if separated:
            _refuse_bytes(path, table)
            table = _with_texts(path, table, is_name, is_either)
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: the names of its columns are no UTF-8; save it as UTF-8") from error
    except (arrow.ArrowException, OSError) as error:
        raise Fault(f"{path}: damaged, or no table ({first_line(error)})") from error
    repeated = [each for each in names if names.count(each) > 1]
    if repeated:
        raise Fault(f"{path}: the column {repeated[0]!r} is there twice")
    if not table.num_rows:
        raise Fault(f"{path}: the table has no rows")
    return table


def _refuse_bytes(path: Path, table: Any) -> None:
    """Refuse a CSV whose text is in another encoding, which Arrow takes for bytes."""
    from pyarrow import types

    for field in table.schema:
        if types.is_binary(field.type):
            raise Fault(f"{path}: {field.name!r} holds text that is no UTF-8; save it as UTF-8")


def _with_texts(
    path: Path, table: Any, is_name: Callable[[str], bool], is_either: Callable[[str], bool]
) -> Any:
    """The same, with columns as text that Arrow took for something else by how they look."""
    import pyarrow as arrow
    from pyarrow import compute, csv, types

    wanted = [
        field.name
        for field in table.schema
        if not types.is_string(field.type) and (is_name(field.name) or is_either(field.name))
    ]
    if not wanted or table.column_names.count(wanted[0]) > 1:
        return table
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(wanted, arrow.string()),
        include_columns=wanted,
        null_values=[""],
        strings_can_be_null=True,
    )
    texts = csv.read_csv(path, convert_options=options)
    for column in wanted:
        place = table.column_names.index(column)
        counted = compute.all(compute.match_substring_regex(texts[column], CANONICAL)).as_py()
        if is_name(column) or not (counted and types.is_integer(table.schema.field(place).type)):
            table = table.set_column(place, column, texts[column])
    return table
