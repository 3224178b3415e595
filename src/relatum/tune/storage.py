"""Where a search keeps its trials: a database that several processes may open."""

import warnings
from typing import TYPE_CHECKING, Any

from relatum.types import Fault, first_line

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import RDBStorage

BUSY = 60
"""Seconds for which one process waits for another's write."""
EARLIEST = 5
"""Trials that run to their end before any is given up, and epochs that each is given."""


def optuna() -> Any:
    """The package.

    Raises:
        Fault: it is not installed.
    """
    try:
        import optuna as found
    except ImportError as error:
        raise Fault("a search needs Optuna: pip install 'relatum[tune]'") from error
    found.logging.set_verbosity(found.logging.ERROR)
    warnings.filterwarnings("ignore", category=found.exceptions.ExperimentalWarning)
    return found


def opened(address: str) -> "RDBStorage":
    """A database by its address (``sqlite:///…``).

    Raises:
        Fault: it cannot be opened.
    """
    package = optuna()
    waits = {"connect_args": {"timeout": BUSY}} if address.startswith("sqlite") else {}
    try:
        found: RDBStorage = package.storages.RDBStorage(address, engine_kwargs=waits)
    except Exception as error:
        raise Fault(
            f"the search's database {address} cannot be opened"
            f" ({type(error).__name__}: {first_line(error)})"
        ) from error
    return found


def pruner() -> "BasePruner":
    """Gives up a trial that is worse than the median of the others at the same epoch."""
    found: BasePruner = optuna().pruners.MedianPruner(EARLIEST, EARLIEST)
    return found
