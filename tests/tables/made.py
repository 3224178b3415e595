"""Shared by the tests of tables: small sets with and without names, and files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet

from relatum.data import Resident, cut
from relatum.datasets import Dataset
from relatum.tables import Table, read
from relatum.teacher_names import table_of


def images(count: int, **more: Any) -> Resident:
    return Resident(torch.zeros(count, 1, 4, 4, dtype=torch.uint8), **more)


def dataset(train: Resident, test: Resident) -> Dataset:
    return Dataset("some", train, test, (), (0.5,), (0.5,))


def named(*parts: tuple[str, ...]) -> Dataset:
    """A set with files of these names to train and to test on."""
    train, test = (images(len(names), names=names) for names in parts)
    return dataset(train, test)


def held_back(count: int = 10, share: float = 0.2) -> Dataset:
    """A set whose test part was cut out of one whole."""
    return dataset(*cut(images(count), share, 0))


def opened(path: Path, columns: str = "") -> Table:
    name = table_of(f"table:{path}{columns}")
    assert name is not None
    return read(name)


def saved(path: Path, /, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path
