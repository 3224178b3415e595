"""Read a table of embeddings or logits from its file, and check what can be checked by itself."""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from relatum.tables.columns import Columns, Keys, columns_of, indices
from relatum.teacher_names import TableName
from relatum.types import Fault, first_line

EMBEDDING, OUTPUT = "embedding", "output"
"""What the values are called as taps of a teacher; logits are what a network returns."""
_NAMES = "names"
"""Of a safetensors file's metadata: a JSON list of file names, one for each row."""
_NO_ARRAY = (ValueError, OverflowError, EOFError, SyntaxError, TokenError, RecursionError)
"""What NumPy raises where a header is damaged, which it reads as an expression of Python."""
_WIDE = (torch.uint16, torch.uint32, torch.uint64)
"""What torch can hold and hardly computes with."""
_NUMBERS = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *_WIDE),
)


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds.

    Attributes:
        path: of the file.
        values: ``"embedding"`` and ``"output"`` (logits), one of them or both, rows × width, in
            the type of number that the file has. An ``.npy`` is mapped, and not read.
        keys: a file name or an index for each row; ``None`` where rows are in the set's order.
        sha256: of the file, and of the columns that were named.
    """

    path: Path
    values: Mapping[str, Tensor]
    keys: Keys
    sha256: str

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def width(self) -> Mapping[str, int]:
        """Numbers of a row, by the names of the values."""
        return {name: value.shape[1] for name, value in self.values.items()}


def read(name: TableName) -> Table:
    """Read a table.

    An ``.npy`` is one array, rows × width, in the set's order: embeddings, or logits where the
    name ends in ``#logits``. A ``.safetensors`` has tensors ``embedding`` and ``logits``, one of
    them or both, and for the keys a tensor ``index`` of whole numbers, or file names in its
    metadata (``names``, a JSON list). A ``.parquet`` or ``.csv`` has them as columns
    (``relatum.tables.columns``). Nothing that a file holds is ever run.

    Args:
        name: the file, and which of its columns are what, where that cannot be seen.

    Raises:
        Fault: there is no such file, it is damaged, or holds no such table.
    """
    if "\0" in str(name.path):
        raise Fault(f"{str(name.path)!r}: a file's name has no NUL in it")
    try:
        about = name.path.stat()
        if name.path.is_dir():
            raise Fault(f"{name.path} is a folder; name the file of a table")
        return _read(name, about.st_mtime_ns, about.st_size)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        missing = isinstance(error, FileNotFoundError)
        raise Fault(f"{name.path}: {'there is no such file' if missing else what}") from error


@lru_cache(maxsize=2)
def _read(name: TableName, changed: int, size: int) -> Table:
    """Read it once, for all runs of an experiment, as long as the file stays the same."""
    kind = name.path.suffix.lower()
    reader = {".npy": _numpy, ".safetensors": _safetensors}.get(kind)
    values, keys = reader(name) if reader else columns_of(name)
    rows = {len(value) for value in values.values()}
    if keys is not None:
        rows.add(len(keys))
    if len(rows) > 1:
        each = ", ".join(f"{len(value):,} of {what}" for what, value in values.items())
        count = "" if keys is None else f" and {len(keys):,} keys"
        raise Fault(f"{name.path}: wanted as many rows of everything, got {each}{count}")
    for what, value in values.items():
        if value.ndim != 2 or not value.numel():
            got = " by ".join(map(str, value.shape))
            raise Fault(f"{name.path}: {what} is {got} numbers; wanted a row for each image")
    with name.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if name.columns:
        digest.update(json.dumps(name.columns).encode())
    return Table(name.path, values, keys, digest.hexdigest())


def _numpy(name: TableName) -> Columns:
    if any(role == "key" or column for role, column in name.columns) or len(name.columns) > 1:
        raise Fault(f"{name.path}: an .npy is one array, without columns: name it #logits, or not")
    try:  # copied on write, so that torch gets memory that it may call its own
        with warnings.catch_warnings():  # a size beyond all is refused, so nobody need be warned
            warnings.simplefilter("ignore", RuntimeWarning)
            array = np.load(name.path, mmap_mode="c", allow_pickle=False)
    except _NO_ARRAY as error:
        raise Fault(f"{name.path}: no array of numbers ({first_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise Fault(f"{name.path} is an archive of arrays; save one of them as .npy")
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise Fault(f"{name.path}: holds {array.dtype}; wanted floats of 16, 32 or 64 bits")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    what = OUTPUT if name.columns and name.columns[0][0] == "logits" else EMBEDDING
    return {what: _tensor(array)}, None


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array))


def _safetensors(name: TableName) -> Columns:
    try:
        with safe_open(name.path, framework="pt") as file:
            there = list(file.keys())
            metadata = file.metadata() or {}
            wanted = _tensors(name, there)
            found = {role: file.get_tensor(each) for role, each in wanted.items()}
    except SafetensorError as error:
        raise Fault(f"{name.path}: damaged safetensors ({first_line(error)})") from error
    keys: Keys = None
    if "key" in found:
        keys = indices(found.pop("key"), name.path, wanted["key"])
    elif _NAMES in metadata:
        keys = _names(metadata[_NAMES], name.path)
    for role, value in found.items():
        if value.dtype not in _NUMBERS:
            raise Fault(
                f"{name.path}: {wanted[role]} holds {value.dtype}; wanted floats of 16, 32 or 64"
                " bits, or whole numbers"
            )
    return {
        OUTPUT if role == "logits" else role: value.float() if value.dtype in _WIDE else value
        for role, value in found.items()
    }, keys


def _tensors(name: TableName, there: list[str]) -> dict[str, str]:
    """The tensor of each role: as named, or by its own name, or the only one that there is."""
    wanted = dict(name.columns)
    for role, usual in (("embedding", "embedding"), ("logits", "logits"), ("key", "index")):
        if usual in there:
            wanted.setdefault(role, usual)
    if not {"embedding", "logits"} & set(wanted):
        free = [each for each in there if each not in wanted.values()]
        if len(free) == 1:
            wanted["embedding"] = free[0]
    for role, tensor in wanted.items():
        if tensor not in there:
            raise Fault(f"{name.path}: no tensor {tensor!r} ({role}); it has {', '.join(there)}")
    if not {"embedding", "logits"} & set(wanted):
        raise Fault(
            f"{name.path} has {', '.join(there) or 'no tensors'}; say which is what:"
            f" table:{name.path}#embedding=NAME"
        )
    return wanted


def _names(text: str, path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: nested a thousand deep
        names = None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        found = re.sub(r"\s+", " ", text[:40])
        raise Fault(f"{path}: metadata {_NAMES!r} is no JSON list of file names: {found}")
    return tuple(names)
