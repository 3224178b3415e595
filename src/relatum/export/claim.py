"""Whose the files of a folder are: what an export may replace there, and what it leaves alone."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from relatum.export.formats import FORMATS, Format
from relatum.export.manifest import NAME, Manifest
from relatum.export.source import Source
from relatum.types import Fault

FOLDER = "export"
"""Where the files of a run go, in its folder."""
BEFORE = "before"
"""Where a folder waits, while another takes its place."""


def clear(folder: Path) -> None:
    """Remove what a killed export left behind, and put back what it had moved out of the way."""
    for left in folder.glob(f".{FOLDER}-*"):
        for kept in left.glob(f"{BEFORE}/*"):
            if not (folder / kept.name).exists():
                kept.replace(folder / kept.name)
        shutil.rmtree(left, ignore_errors=True)


def claimed(source: Source, folder: Path, to: Sequence[str], digest: str) -> Manifest | None:
    """What was exported there before.

    Replaced is what an export wrote and nobody has changed since: by its sum in ``export.json``,
    or, where that does not list it, by the weights that the file says it is of.

    Args:
        source: what is to be exported.
        folder: where to.
        to: names of formats.
        digest: of the weights.

    Raises:
        Fault: there is a file that no export wrote, that was changed since, or the export of
            another student.
    """
    before = Manifest.load(folder)
    own = source.weights is not None and folder.resolve() == (
        source.weights.resolve().parent / FOLDER
    )
    if before is not None and before.weights_sha256 != digest and not own:
        raise Fault(
            f"{folder} holds the export of another student ({before.model}); choose another --out"
        )
    for name in to:
        path = folder / FORMATS[name].file
        if source.weights is not None and path.resolve() == source.weights.resolve():
            raise Fault(f"{path} is what is to be exported: choose another --out")
        if path.exists():
            _check(path, FORMATS[name], before, digest)
    return before


def earlier(before: Manifest | None, folder: Path, digest: str) -> dict[str, str]:
    """The files that are still there of weights that the student no longer has, with their sums."""
    if before is None:
        return {}
    listed = dict(before.earlier)
    if before.weights_sha256 != digest:
        listed |= {name: file.sha256 for name, file in before.files.items()}
    return {name: sha256 for name, sha256 in listed.items() if (folder / name).exists()}


def sha256_of(path: Path) -> str:
    """Of a file, as ``sha256sum`` gives it; of a folder, of what that gives for all its files."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = (f"{sha256_of(each)}  {each.relative_to(path).as_posix()}\n" for each in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check(path: Path, chosen: Format, before: Manifest | None, digest: str) -> None:
    """Refuse to replace what is somebody's own."""
    listed = None if before is None else before.sums.get(path.name)
    if listed is None:
        if digest in _of(path, chosen):
            return
        raise Fault(
            f"{path} is there and is no export of this student that {NAME} lists: move it away, or"
            " choose another --out"
        )
    if listed and listed != sha256_of(path):  # lists from before sums were kept have none
        raise Fault(
            f"{path} was changed since it was exported (its sum is not that of {NAME}): move it"
            " away, or choose another --out"
        )


def _of(path: Path, chosen: Format) -> Sequence[str]:
    try:
        return tuple(chosen.of(path))
    except Exception:  # whatever a reader raises at a file of another kind
        return ()
