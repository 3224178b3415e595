"""Images in WebDataset shards: tar archives in which one sample's files lie beside each other."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from os.path import abspath
from pathlib import Path

import torch
from torch import Tensor

from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import fingerprint_of, kept
from relatum.datasets.own import Part, Reading, dataset_of
from relatum.datasets.picture import EXTENSIONS, shown
from relatum.datasets.shard import Sample, samples
from relatum.how_far import told
from relatum.spelling import path_of
from relatum.types import Fault

STREAMS = ("pipe:", "http:", "https:", "s3:", "gs:", "hdfs:", "file:")
MOST = 100_000
"""Shards that braces may name."""


@dataclass(frozen=True)
class Members:
    """Images that are members of tar archives, each known by its archive, its place and length.

    Attributes:
        shards: the archives.
        names: of each image.
        places: for each image the number of its archive, its first byte and how many there are.
        where: as of ``Originals``.
    """

    shards: tuple[Path, ...]
    names: tuple[str, ...]
    places: tuple[tuple[int, int, int], ...] = field(repr=False)
    where: str

    def read(self, row: int) -> bytes:
        """The bytes of an image. The archive is opened each time: any thread may ask."""
        shard, first, length = self.places[row]
        with self.shards[shard].open("rb") as file:
            file.seek(first)
            return file.read(length)

    def fingerprint(self) -> str:
        """Of the archives' names, sizes and times."""
        return fingerprint_of(self.shards)


def load(text: str, reading: Reading) -> Dataset:
    """The samples of WebDataset shards, in the order of shards and within them.

    Each sample's files have one name up to its first dot: an image (``.jpg``, ``.png``, …), and
    with it either ``.cls`` (its class, a number or a name), ``.json`` (an object with ``label`` or
    ``class``) or, for a set without labels, neither. Braces (``train-{000..099}.tar``) and ``*``
    name many shards; the test part's follow behind ``#``, and without them a fifth is held back.

    The shards are looked through once for where every image begins, so images are then read in any
    order, and that of an epoch is a function of its seed and number alone, which no reader is that
    takes shards from start to end and mixes what is near. (That is why the webdataset package is
    not used.) So shards must be plain tar files on a disk.

    Args:
        text: the shards, and behind ``#`` those of the test part.
        reading: how the images are wanted.

    Raises:
        Fault: a shard is missing, damaged, compressed or no file, or in both parts; or samples
            without an image or without a class.
    """
    patterns = text.split("#")
    if len(patterns) > 2:
        raise Fault(f"{text}: one '#' parts training shards from test shards, there are more")
    sides = [_shards(each.strip()) for each in patterns]
    _check_apart(sides)
    parts = _told_apart(list(map(_part, patterns, sides)))
    note = f"test part: {patterns[1]}" if len(parts) > 1 else ""
    test = parts[1] if len(parts) > 1 else None
    if test is not None and parts[0].labels is None:
        test = Part(test.originals, None)
    return dataset_of(f"wds:{text}", parts[0], test, reading, note=note)


def expanded(pattern: str) -> list[str]:
    """What braces stand for, as in a shell.

    Example:
        >>> expanded("a-{08..10}.tar")
        ['a-08.tar', 'a-09.tar', 'a-10.tar']
        >>> expanded("{a,b}.tar")
        ['a.tar', 'b.tar']
    """
    brace = re.search(r"\{([^{}]*)\}", pattern)
    if brace is None:
        return [pattern]
    before, after = pattern[: brace.start()], pattern[brace.end() :]
    if span := re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", brace[1]):
        first, last = int(span[1]), int(span[2])
        if last < first:
            raise Fault(f"{pattern}: {brace[0]} goes from the first number to the last, got that")
        if last - first >= MOST:
            raise Fault(f"{pattern}: {brace[0]} stands for more than {MOST:,} shards")
        inside = [f"{each:0{len(span[1])}d}" for each in range(first, last + 1)]
    else:
        inside = brace[1].split(",")
    rest = expanded(after)
    if len(inside) * len(rest) > MOST:
        raise Fault(f"{pattern}: these braces stand for more than {MOST:,} shards")
    return [f"{before}{each}{end}" for each in inside for end in rest]


def _shards(pattern: str) -> tuple[Path, ...]:
    if pattern.startswith(STREAMS):
        raise Fault(
            f"{pattern}: that is read from start to end only, and every epoch needs its images in"
            " another order; put the shards on a disk"
        )
    found: list[Path] = []
    for each in map(str, map(path_of, expanded(pattern))):
        here = [Path(each)]
        if "*" in each or "?" in each:
            here = [Path(one) for one in sorted(glob(each))]
        for path in here:
            _check_there(path)
        found += here
    if not found:
        raise Fault(f"{pattern}: there are no such shards")
    return tuple(found)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise Fault(
            f"{path}: is no file; shards are plain tar files on a disk (no folders, no pipes)"
            if path.exists()
            else f"{path}: this shard is missing; put it there, or name those that are"
        )


def _check_apart(sides: Sequence[Sequence[Path]]) -> None:
    """Refuse a shard that is both learnt from and judged on."""
    learnt = {each.resolve() for each in sides[0]}
    for shard in (each for side in sides[1:] for each in side):
        if shard.resolve() in learnt:
            raise Fault(
                f"{shard}: this shard is among those to learn from and those of the test part,"
                " which would tell nothing; leave it out of one"
            )


def _part(pattern: str, shards: tuple[Path, ...]) -> Part:
    where = f"shards {pattern} of {shards[0].parent.resolve()}"

    def look() -> dict[str, Tensor]:
        found: list[Sample] = []
        with told(f"looking through {where}", len(shards)) as advance:
            for number, shard in enumerate(shards):
                found.extend(samples(number, shard))
                advance(1)
        text = json.dumps([each[:2] for each in found]).encode()
        return {
            "texts": torch.frombuffer(bytearray(text), dtype=torch.uint8),
            "places": torch.tensor([each[2] for each in found], dtype=torch.int64).view(-1, 3),
        }

    index = kept(f"{where} listed", fingerprint_of(shards), look)
    texts: list[tuple[str, str | None]] = json.loads(index["texts"].numpy().tobytes())
    if not texts:
        raise Fault(f"{pattern}: the shards hold no images ({' '.join(EXTENSIONS)})")
    places = tuple((int(a), int(b), int(c)) for a, b, c in index["places"].tolist())
    members = Members(shards, tuple(each[0] for each in texts), places, where)
    labels = [each[1] for each in texts]
    lacking = [row for row, each in enumerate(labels) if each is None]
    if len(lacking) == len(labels):
        return Part(members, None)
    if lacking:
        raise Fault(
            f"{pattern}: {len(lacking):,} of {len(labels):,} samples have no class, the first is"
            f" {texts[lacking[0]][0]}; give every sample one (.cls), or none"
        )
    return Part(members, [str(each) for each in labels])


def _told_apart(parts: list[Part]) -> list[Part]:
    """The same images, with their shard's file before their names where two have one name.

    Shards are often numbered from 0 again, and a table of embeddings is keyed by names. So of a
    shard's path as little goes before them as tells them apart: they survive that the shards are
    moved. Those of the first part are the same whatever the second one is.

    Raises:
        Fault: two of one shard have one name.
    """
    taken: dict[str, tuple[str, int]] = {}
    found: list[Part] = []
    depth = 0
    for part in parts:
        members = part.originals
        assert isinstance(members, Members)
        shards = [Path(abspath(each)) for each in members.shards]
        places = [(str(shards[shard]), first) for shard, first, _ in members.places]
        names = _named(members, shards, depth)
        while twice := _twice(names, places, taken):
            depth += 1
            if depth > max(len(each.parts) for each in shards):
                raise Fault(f"{twice} is there twice; pack that shard anew, each file once")
            names = _named(members, shards, depth)
        taken.update(zip(names, places, strict=True))
        found.append(Part(replace(members, names=names), part.labels))
    return found


def _named(members: Members, shards: list[Path], depth: int) -> tuple[str, ...]:
    """The names with so many parts of their shard's path before them."""
    if not depth:
        return members.names
    before = [shown(Path(*each.parts[-depth:])) for each in shards]
    named = zip(members.places, members.names, strict=True)
    return tuple(f"{before[place[0]]}/{name}" for place, name in named)


def _twice(
    names: Sequence[str], places: Sequence[tuple[str, int]], taken: Mapping[str, tuple[str, int]]
) -> str | None:
    """A name that two images have, of these or of those that have theirs already."""
    own = dict(zip(names, places, strict=True))
    if len(own) < len(names):
        return next(name for name, count in Counter(names).items() if count > 1)
    return next((name for name, each in own.items() if taken.get(name, each) != each), None)
