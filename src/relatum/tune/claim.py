"""Whether a folder may be searched in, and how another search in it makes way."""

import shutil
from pathlib import Path

from relatum.tune.found import BEST, PICTURE
from relatum.tune.study import DATABASE, TRIALS
from relatum.types import Fault


def claim(out: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that a folder may be searched in; nothing in it is touched yet.

    Raises:
        Fault: it holds a search, and nobody said what is to become of it.
    """
    if resume and overwrite:
        raise Fault("--resume goes on and --overwrite begins again: give one of them")
    there = (out / DATABASE).exists() or (out / TRIALS).exists()
    if there and not (resume or overwrite):
        raise Fault(
            f"{out} holds a search already; go on with it by --resume, replace it by --overwrite,"
            " or choose another --out"
        )


def clear(out: Path) -> None:
    """Delete the search in a folder. A teacher there stays: it may be one that was given."""
    for name in (TRIALS, BEST):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (DATABASE, PICTURE):
        (out / name).unlink(missing_ok=True)
