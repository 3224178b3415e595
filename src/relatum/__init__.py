"""Relational knowledge distillation: teach a small network how a large one relates its samples.

The losses are in ``relatum.losses``; what is here binds them to networks. Train with
``relatum.fit.fit``, or whole recipes with ``relatum.run.run``. The command is ``relatum``.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from relatum.data import Batches, Resident
    from relatum.datasets import load
    from relatum.discovery import find_taps
    from relatum.distiller import Distiller
    from relatum.fit import Epoch
    from relatum.objective import Losses, Objective, Term
    from relatum.recipes.recipe import Recipe
    from relatum.record import Record
    from relatum.report.page import write_report
    from relatum.several import Teachers
    from relatum.tables import EmbeddingTable
    from relatum.tally import NotFinite
    from relatum.taps import Tap, Tapped
    from relatum.teachers import CachedTeacher, Teacher
    from relatum.types import Batch, Captured, Fault, Input
    from relatum.weights import load_weights, save_weights

_HOMES = {
    "data": ("Batches", "Resident"),
    "datasets": ("load",),
    "discovery": ("find_taps",),
    "distiller": ("Distiller",),
    "fit": ("Epoch",),
    "objective": ("Losses", "Objective", "Term"),
    "recipes.recipe": ("Recipe",),
    "record": ("Record",),
    "report.page": ("write_report",),
    "tally": ("NotFinite",),
    "taps": ("Tap", "Tapped"),
    "several": ("Teachers",),
    "tables": ("EmbeddingTable",),
    "teachers": ("CachedTeacher", "Teacher"),
    "types": ("Batch", "Captured", "Fault", "Input"),
    "weights": ("load_weights", "save_weights"),
}
_PARTS = ("evaluate", "fit", "losses", "relations", "schedules", "world")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Batches",
    "CachedTeacher",
    "Captured",
    "Distiller",
    "EmbeddingTable",
    "Epoch",
    "Fault",
    "Input",
    "Losses",
    "NotFinite",
    "Objective",
    "Recipe",
    "Record",
    "Resident",
    "Tap",
    "Tapped",
    "Teacher",
    "Teachers",
    "Term",
    "find_taps",
    "load",
    "load_weights",
    "save_weights",
    "write_report",
]


def __getattr__(name: str) -> typing.Any:
    """Import a public name when it is first asked for, so that the command starts at once."""
    if name in _PARTS:
        return importlib.import_module(f"relatum.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'relatum' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"relatum.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, those that were not imported yet included."""
    return sorted({*globals(), *__all__, *_PARTS})
