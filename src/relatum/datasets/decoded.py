"""Images that took long to decode are remembered as bytes, until their files change."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

PATIENCE = 2.0
"""Seconds of decoding from which it is worth remembering."""


def cache() -> Path:
    """Where data lies unless it is told otherwise."""
    return Path.home() / ".cache" / "relatum"


def remembered(
    name: str, files: Iterable[Path], decode: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """What ``decode`` gives, or gave when these files had the same names, sizes and times.

    Args:
        name: of the set and of how it is decoded; any text, and another one when that changes.
        files: what it is decoded from.
        decode: gives tensors by name; called when there is nothing to remember.
    """
    return kept(name, fingerprint_of(files), decode)


def kept(
    name: str, fingerprint: str, decode: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """As ``remembered``, of what is known by a text that changes with it.

    One file in ``~/.cache/relatum/decoded`` a name: what is out of date is overwritten. A
    memory that cannot be read or written does no harm but to time.
    """
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:20]
    path = cache() / "decoded" / f"{digest}.safetensors"
    if (known := _recall(path, fingerprint)) is not None:
        return known
    began = time.perf_counter()
    tensors = dict(decode())
    if time.perf_counter() - began > PATIENCE:
        _keep(path, tensors, fingerprint)
    return tensors


def fingerprint_of(files: Iterable[Path]) -> str:
    """A text that changes with the names, sizes or times of files; one may be missing."""
    seen = hashlib.sha256()
    for path in files:
        try:
            status = path.stat()
        except (OSError, ValueError) as error:  # the latter of a name with a null byte in it
            said = error.strerror if isinstance(error, OSError) else error
            seen.update(os.fsencode(path) + f"\0{said}\n".encode())
            continue
        size_and_time = f"\0{status.st_size}\0{status.st_mtime_ns}\n"
        seen.update(os.fsencode(path) + size_and_time.encode())
    return seen.hexdigest()


def _recall(path: Path, fingerprint: str) -> dict[str, Tensor] | None:
    try:
        with safe_open(path, framework="pt") as kept:
            if (kept.metadata() or {}).get("files") != fingerprint:
                return None
            return {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def _keep(path: Path, tensors: dict[str, Tensor], fingerprint: str) -> None:
    # Written beside and then renamed, so that no other process reads half of it.
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, beside, metadata={"files": fingerprint})
        beside.replace(path)
    except (OSError, SafetensorError):
        with suppress(OSError):
            beside.unlink()
