"""Files are checked before they are believed: what is wrong is said of one file, in one line."""

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relatum.types import Fault, first_line

AGAIN = "delete it and run again with --download"


def read(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        Fault: the operating system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Fault(f"{path}: cannot be read ({error.strerror}); mend that or {AGAIN}") from error


def md5(data: bytes) -> str:
    """The MD5 sum by which torchvision knows its files: against accidents, not attackers."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def verified(path: Path, wanted: str) -> bytes:
    """The bytes of a file whose MD5 sum is as published.

    Raises:
        Fault: it is not; a file that merely ends too soon is told from one with other content.
    """
    data = read(path)
    if (found := md5(data)) != wanted:
        if path.suffix == ".gz":
            unzip(path, data)
        raise Fault(f"{path}: MD5 differs ({found}, published is {wanted}); {AGAIN}")
    return data


def unzip(path: Path, data: bytes) -> bytes:
    """What a gzip file holds, of which these are the bytes.

    Raises:
        Fault: it is empty or no gzip file, ends too soon or is damaged.
    """
    try:
        unzipped = gzip.decompress(data)
    except EOFError:
        problem = f"truncated gzip of {len(data):,} bytes"
    except (gzip.BadGzipFile, zlib.error):
        problem = "damaged gzip" if data[:2] == b"\x1f\x8b" else "not a gzip file"
    else:
        if data:
            return unzipped
        problem = "empty file"
    raise Fault(f"{path}: {problem}; {AGAIN}")


def fetch(kind: str, root: Path) -> None:
    """Download a set by torchvision's class of this name, which checks its own sums.

    Raises:
        Fault: torchvision is not there, or the download failed.
    """
    with _downloading(kind, root):
        from torchvision import datasets

        getattr(datasets, kind)(root, download=True)


def fetch_archive(name: str, url: str, root: Path, wanted: str) -> None:
    """Download an archive with this MD5 sum, if it is not there yet, and unpack it.

    Raises:
        Fault: torchvision is not there, or the download failed or is another file.
    """
    with _downloading(name, root):
        from torchvision.datasets.utils import download_and_extract_archive

        download_and_extract_archive(url, root, md5=wanted)


@contextmanager
def _downloading(name: str, root: Path) -> Iterator[None]:
    """One line for what may go wrong."""
    try:
        yield
    except ImportError as error:
        raise Fault(f"downloading {name} needs torchvision: pip install torchvision") from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise Fault(
            f"downloading {name} to {root} failed ({first_line(error)}); try again, or put the"
            " files there by hand"
        ) from error


def missing(name: str, places: list[Path]) -> Fault:
    """What to raise when a set is in none of these places."""
    looked = ", ".join(map(str, places))
    return Fault(
        f"{name} is not here: looked in {looked}; run again with --download, or set RELATUM_DATA"
        " to the folder that has it"
    )
