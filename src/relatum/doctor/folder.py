"""Whether runs may be written where they are to be."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from relatum.bench.experiment import Cell, check_place
from relatum.doctor.finding import Finding, problem
from relatum.run.claim import claim
from relatum.types import Fault


def examine_folder(
    cells: Sequence[Cell], out: Path, resume: bool, overwrite: bool
) -> Iterator[Finding]:
    """Find what is in the way in the folder of some runs, by what refuses them; nothing is written.

    Args:
        cells: what would be run.
        out: where.
        resume: whether to go on with what is there.
        overwrite: whether to replace it.
    """
    try:
        check_place(out, resume, overwrite)
        for cell in cells:
            claim(cell.recipe, out / cell.folder, resume, overwrite)
    except Fault as fault:
        yield problem("folder", str(fault), "")
