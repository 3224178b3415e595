"""Whether a folder may be searched in, and how another search in it makes way."""

import shutil
from collections.abc import Callable
from pathlib import Path

from relatum.bench.experiment import claim as claim_runs
from relatum.report.page import NAME as REPORT
from relatum.tune.found import BEST, FINAL, PICTURE
from relatum.tune.storage import opened, optuna
from relatum.tune.study import DATABASE, TRIALS, name_of
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


def clear(out: Path, storage: str | None = None) -> None:
    """Delete the search in a folder, and the runs that tested what it found.

    A teacher there stays: it may be one that was given. Of a database that was named, which may
    hold other searches, this one alone goes.

    Args:
        out: the folder.
        storage: address of the database, where it is not in the folder.

    Raises:
        Fault: the runs are of more than one experiment, or trials of the search lie in another
            folder too; nothing is deleted then.
    """
    study = None if storage is None else _own(out, storage)
    claim_runs(out / FINAL, resume=False, overwrite=True)
    (out / FINAL / REPORT).unlink(missing_ok=True)
    if study is not None:
        study()
    for name in (TRIALS, BEST):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (DATABASE, PICTURE):
        (out / name).unlink(missing_ok=True)


def _own(out: Path, storage: str) -> Callable[[], None]:
    """What deletes this folder's search from a database, if it is there and nobody else's."""
    database, name = opened(storage), name_of(out)
    package = optuna()
    if name not in package.get_all_study_names(database):
        return lambda: None
    own = str(out.resolve())
    study = package.load_study(study_name=name, storage=database)
    found = {each.user_attrs.get("place", own) for each in study.get_trials(deepcopy=False)}
    for place in sorted(found - {own}):
        raise Fault(
            f"{storage} holds trials of the search {name!r} from {place} too, and --overwrite would"
            " delete them; choose another --out"
        )
    return lambda: package.delete_study(study_name=name, storage=database)
