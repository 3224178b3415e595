"""One process writes a run's folder at a time; another one is told so at once."""

import contextlib
import errno
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from relatum import together
from relatum.types import Fault

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
ATTEMPTS = 1000
"""How often a folder may vanish while it is made. They take some 20 ms in all."""
UNKNOWN = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system says that has no locks: there, nothing is locked."""


class Taken(Fault):
    """Another process is writing into this folder."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder alone, made if need be; if nothing is written, it is gone again afterwards.

    The kernel gives a lock back when the process that holds it ends, however it ends, so what a
    killed one left behind stands in nobody's way. Of processes that train together the first
    one holds it.

    Raises:
        Taken: another process holds it.
        Fault: the folder cannot be made or written to.
    """
    file, made = together.by_first(lambda: _taken(folder))
    try:
        yield
    finally:
        if together.first():
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
            os.close(file)
            _remove(made)


def _taken(folder: Path) -> tuple[int, list[Path]]:
    """An open file that holds the lock, and the folders that were made for it."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        return _locked(folder), made
    except OSError as error:
        _remove(made)
        raise Fault(f"cannot write {folder}: {error.strerror or error}") from error


def _locked(folder: Path) -> int:
    """An open file that holds the lock, and is still the one that others will open."""
    vanished = 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError):
            # who held it before removes the empty folder; what stays so is the user's to mend
            vanished += 1
            if vanished == ATTEMPTS:
                raise
            continue
        try:
            if not _alone(file):
                raise Taken(
                    f"{folder} is being written by another process ({_holder(file)}); wait for it,"
                    " or choose another --out"
                )
            if _same(file, folder / LOCK):
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _alone(file: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNKNOWN:
            raise
    return True


def _same(file: int, path: Path) -> bool:
    """Whether a path still leads to an open file: its holder removes it before letting go."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    return os.pread(file, 200, 0).decode(errors="replace") or "just begun"


def _remove(folders: list[Path]) -> None:
    """Those of some folders, the deepest first, that are empty."""
    with contextlib.suppress(OSError):
        for each in folders:
            each.rmdir()
