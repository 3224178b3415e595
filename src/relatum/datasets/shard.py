"""The samples of one WebDataset shard: files of a tar archive that lie beside each other."""

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from relatum.datasets.picture import EXTENSIONS, shown
from relatum.types import Fault, first_line

CLASS_KEYS = ("label", "class", "cls", "target", "category")
"""Where the class stands in a sample's JSON; the first that is there is taken."""
LONGEST = 1 << 24
"""Bytes of a file that says a class."""

Sample = tuple[str, str | None, tuple[int, int, int]]
"""Its name, its class, and where its image lies."""


def samples(number: int, shard: Path) -> Iterator[Sample]:
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
        if _is_read(end) and end.lower() in group:
            twice = f"{shown(member.name)} is there twice"
            raise Fault(f"{shard}: {twice}; pack it anew, each file once")
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
        label = _text(shard, archive, group["cls"]).strip()
    elif "json" in group:
        label = _class_of(shard, group["json"].name, _text(shard, archive, group["json"]))
    yield shown(f"{key}.{image}"), label or None, (number, member.offset_data, member.size)


def _text(shard: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > LONGEST:
        raise Fault(
            f"{shard}: {shown(member.name)} has {member.size:,} bytes, which is no class; pack it"
            " anew without"
        )
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
