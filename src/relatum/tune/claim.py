"""Whether a folder may be searched in."""

import shutil
from pathlib import Path

from relatum.tune.found import BEST, PICTURE
from relatum.tune.study import DATABASE, TRIALS
from relatum.types import Fault


def claim(out: Path, resume: bool, overwrite: bool) -> None:
    """Make sure that a folder may be searched in, cleared of another search where that is meant.

    Raises:
        Fault: it holds a search, and nobody said what is to become of it.
    """
    there = (out / DATABASE).exists() or (out / TRIALS).exists()
    if there and not (resume or overwrite):
        raise Fault(
            f"{out} holds a search already; go on with it by --resume, replace it by --overwrite,"
            " or choose another --out"
        )
    if there and overwrite:
        for name in (TRIALS, BEST):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (DATABASE, PICTURE):
            (out / name).unlink(missing_ok=True)
