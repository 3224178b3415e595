"""Encoded images that lie somewhere, to be read in any order; and what they show once decoded."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor

from relatum.data.stored import processors
from relatum.datasets.decoded import fingerprint_of, kept
from relatum.datasets.picture import Unreadable, picture, shown
from relatum.how_far import told

SMALL = 8
"""Pixels that images are decoded to where it is only asked whether they can be: all of a file is
read for that, and a JPEG's last step is done an eighth as large."""
PART = 256
"""Images that threads are given at a time."""


class Originals(Protocol):
    """Where images come from: every source of them is one of these, and nothing else."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each is called, as it can be printed: what a table of embeddings is keyed by."""
        ...

    @property
    def where(self) -> str:
        """What they are all of, and how they are chosen: a text that can be a key."""
        ...

    def read(self, row: int) -> Path | bytes:
        """The file of an image, or its bytes. Any thread may ask.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def fingerprint(self) -> str:
        """Another text when any of the images has changed."""
        ...


@dataclass(frozen=True)
class Files:
    """Images that are files.

    Attributes:
        paths: of each.
        top: their names are relative to this folder.
        where: as of ``Originals``.
    """

    paths: tuple[Path, ...]
    top: Path
    where: str

    @property
    def names(self) -> tuple[str, ...]:
        """Their paths below the top folder, and whole ones of what lies elsewhere."""
        top = os.path.join(self.top, "")  # texts, for paths take a second for 100,000 of them
        return tuple(shown(os.fspath(path).removeprefix(top)) for path in self.paths)

    def read(self, row: int) -> Path:
        """The file of an image."""
        return self.paths[row]

    def fingerprint(self) -> str:
        """Of names, sizes and times."""
        return fingerprint_of(self.paths)


class Broken(NamedTuple):
    """An image that cannot be read."""

    row: int
    reason: str


def decode(originals: Originals, row: int, size: int) -> UInt8[Tensor, "3 size size"]:
    """One image, as a square of this many pixels.

    Raises:
        Unreadable: it cannot be.
    """
    try:
        file = originals.read(row)
    except OSError as error:
        reason = error.strerror or str(error)
        name = originals.names[row]
        raise Unreadable(f"{name}: cannot be read ({reason})", reason.lower()) from error
    return picture(file, size, name="" if isinstance(file, Path) else originals.names[row])


def decode_all(
    originals: Originals, size: int
) -> tuple[UInt8[Tensor, "good 3 size size"], tuple[Broken, ...]]:
    """All images that can be read, in their order, and which cannot, and why.

    They are remembered (``relatum.datasets.decoded``) until a file changes.
    """

    def now() -> dict[str, Tensor]:
        images = torch.empty(len(originals.names), 3, size, size, dtype=torch.uint8)
        into = images.numpy()

        def one(row: int) -> None:
            into[row] = decode(originals, row, size).numpy()

        broken = _each(len(images), one, f"decoding {originals.where}")
        if not broken:
            return {"images": images}
        bad = {each.row for each in broken}
        good = [row for row in range(len(images)) if row not in bad]
        return {"images": images[good], "broken": _packed(broken)}

    tensors = kept(f"{originals.where} at {size}", originals.fingerprint(), now)
    return tensors["images"], _unpacked(tensors)


def check_all(originals: Originals) -> tuple[Broken, ...]:
    """Which images cannot be read, and why: each is decoded once, and nothing kept but that."""

    def now() -> dict[str, Tensor]:
        names, what = originals.names, f"checking {originals.where}"
        found = _each(len(names), lambda row: decode(originals, row, SMALL), what)
        return {"broken": _packed(found)}

    return _unpacked(kept(f"{originals.where} checked", originals.fingerprint(), now))


def _each(count: int, do: Callable[[int], object], what: str) -> tuple[Broken, ...]:
    """Do something with every row, several at once, and tell how far that is."""

    def one(row: int) -> Broken | None:
        try:
            do(row)
        except Unreadable as fault:
            return Broken(row, fault.reason)
        return None

    found: list[Broken] = []
    with ThreadPoolExecutor(processors()) as threads, told(what, count) as advance:
        for first in range(0, count, PART):  # so that no millions of them wait
            some = range(first, min(first + PART, count))
            found.extend(each for each in threads.map(one, some) if each is not None)
            advance(len(some))
    return tuple(found)


def _packed(broken: Sequence[Broken]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(broken).encode()), dtype=torch.uint8)


def _unpacked(tensors: dict[str, Tensor]) -> tuple[Broken, ...]:
    if "broken" not in tensors:
        return ()
    rows = json.loads(bytes(tensors["broken"].tolist()))
    return tuple(Broken(int(row), str(reason)) for row, reason in rows)
