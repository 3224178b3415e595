"""Images in WebDataset shards: tar archives in which one sample's files lie beside each other."""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import glob
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatum.datasets.dataset import Dataset
from relatum.datasets.decoded import fingerprint_of, kept
from relatum.datasets.own import Part, Reading, dataset_of
from relatum.datasets.picture import EXTENSIONS, shown
from relatum.spelling import path_of
from relatum.types import Fault, first_line

STREAMS = ("pipe:", "http:", "https:", "s3:", "gs:", "hdfs:", "file:")
CLASS_KEYS = ("label", "class", "cls", "target", "category")
"""Where the class stands in a sample's JSON; the first that is there is taken."""
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
        Fault: a shard is missing, damaged, compressed or no file; or samples without an image or
            without a class.
    """
    patterns = text.split("#")
    if len(patterns) > 2:
        raise Fault(f"{text}: one '#' parts training shards from test shards, there are more")
    parts = [_part(each) for each in patterns]
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


def _part(pattern: str) -> Part:
    shards = _shards(pattern.strip())
    where = f"shards {pattern} of {shards[0].parent.resolve()}"

    def look() -> dict[str, Tensor]:
        found = list(chain.from_iterable(_samples(*each) for each in enumerate(shards)))
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


Sample = tuple[str, str | None, tuple[int, int, int]]
"""Its name, its class, and where its image lies."""


def _samples(number: int, shard: Path) -> Iterator[Sample]:
    """The samples of an archive."""
    try:
        with tarfile.open(shard, "r:") as archive:
            for key, group in _grouped(shard, archive):
                yield from _sample(number, shard, archive, key, group)
            _check_end(shard, archive.offset)
    except (tarfile.TarError, OSError, EOFError) as error:
        hint = "; unpack it: it is compressed" if _compressed(shard) else ""
        raise Fault(f"{shard}: is no plain tar archive ({first_line(error)}){hint}") from error


def _check_end(shard: Path, place: int) -> None:
    """Refuse an archive whose members end at what is no end: tarfile stops there silently."""
    with shard.open("rb") as file:
        file.seek(place)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise Fault(f"{shard}: is damaged from byte {place:,} on; pack it anew")


def _grouped(
    shard: Path, archive: tarfile.TarFile
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """The files of each sample, which lie beside each other, by what follows the first dot."""
    key: str | None = None
    group: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        folder, slash, name = member.name.rpartition("/")
        stem, _, end = name.partition(".")
        # at once: tarfile would look for the next member at or before this one
        if member.size < 0:
            raise Fault(f"{shard}: {shown(member.name)} is damaged: it has {member.size:,} bytes")
        if not stem:
            continue
        if (member.islnk() or member.issym()) and _is_read(end):
            raise Fault(
                f"{shard}: {shown(member.name)} is stored as a link; pack the files themselves"
                " (tar --dereference --hard-dereference)"
            )
        if not member.isfile():
            continue
        if folder + slash + stem != key:
            if key is not None:
                yield key, group
            key, group = folder + slash + stem, {}
        group[end.lower()] = member
    if key is not None:
        yield key, group


def _is_read(end: str) -> bool:
    """Whether a file with this behind its first dot is an image, or says an image's class."""
    return end.lower() in ("cls", "json") or _is_image(end.lower())


def _is_image(end: str) -> bool:
    return f".{end.rpartition('.')[2]}" in EXTENSIONS


def _sample(
    number: int,
    shard: Path,
    archive: tarfile.TarFile,
    key: str,
    group: Mapping[str, tarfile.TarInfo],
) -> Iterator[Sample]:
    image = next(filter(_is_image, group), None)
    if image is None:
        return
    member = group[image]
    if member.issparse():
        raise Fault(f"{shard}: {member.name} is stored with holes; pack it anew without --sparse")
    label: str | None = None
    if "cls" in group:
        label = _text(archive, group["cls"]).strip()
    elif "json" in group:
        label = _class_of(shard, group["json"].name, _text(archive, group["json"]))
    yield shown(f"{key}.{image}"), label or None, (number, member.offset_data, member.size)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    assert file is not None, "it was looked at: it is a file"
    return file.read().decode("utf-8", errors="replace")


def _class_of(shard: Path, name: str, text: str) -> str | None:
    try:
        about: Any = json.loads(text)
    # a number of thousands of digits and brackets in brackets are JSON, and still not read
    except (ValueError, RecursionError) as error:
        raise Fault(f"{shard}: {shown(name)} is no JSON ({first_line(error)})") from error
    if not isinstance(about, dict):
        return None
    key = next((each for each in CLASS_KEYS if each in about), None)
    if key is None or about[key] is None:
        return None
    if not isinstance(about[key], str | int):
        raise Fault(
            f"{shard}: {shown(name)} has {about[key]!r:.60} as its {key}; wanted a text or a whole"
            " number, or null where there is none"
        )
    return str(about[key])


def _compressed(shard: Path) -> bool:
    with shard.open("rb") as file:
        return file.read(4)[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
