"""How teachers are written: networks, tables (``table:FILE``), several of them with their weights.

Needs no torch, so that a misspelt teacher is refused at once.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from relatum.faults import Fault
from relatum.spelling import path_of
from relatum.table_names import file_and_columns

TABLE = "table:"
ROLES = ("embedding", "logits", "key")
"""What a column of a table may be."""
SUFFIXES = (".npy", ".safetensors", ".parquet", ".csv")
_OUTSIDE = re.compile(r",(?![^()]*\))")
"""What separates teachers: a comma that is not within brackets, as of ``simkd(…,…)``."""
_WEIGHT = re.compile(r"(?P<rest>.+)=(?P<weight>[0-9.eE+-]+)")


@dataclass(frozen=True)
class TableName:
    """A table, as ``table:FILE#embedding=COLUMN,key=COLUMN`` names it.

    Attributes:
        path: of the file.
        columns: which column (or tensor) is the ``embedding``, the ``logits``, the ``key``, where
            that is said; ``""`` where the role alone is named, as of an ``.npy`` of logits.
    """

    path: Path
    columns: tuple[tuple[str, str], ...] = ()

    def column(self, role: str) -> str | None:
        """The column of a role, where one is named."""
        return dict(self.columns).get(role)


@dataclass(frozen=True)
class TeacherName:
    """One of the teachers of a run.

    Attributes:
        text: as a recipe names it alone.
        weight: how much it counts beside the others; they need not sum to 1.
    """

    text: str
    weight: float = 1.0

    def __str__(self) -> str:
        """As it is written among others."""
        return self.text if self.weight == 1 else f"{self.text}={self.weight!r}"

    @property
    def table(self) -> TableName | None:
        """The table that it names, if it names one."""
        return table_of(self.text)


def teachers_there(text: str) -> tuple[TeacherName, ...]:
    """The teachers of a text: one, or several joined by commas, each with ``=WEIGHT`` or not.

    What is the path of something there is that one, whatever commas and signs it has.

    Raises:
        Fault: one has no name or is there twice, a weight is none, or a table is misspelt.

    Example:
        >>> teachers_there("runs/a,runs/b=2,table:c.parquet#embedding=vector,key=file")
        ... # doctest: +NORMALIZE_WHITESPACE
        (TeacherName(text='runs/a', weight=1.0), TeacherName(text='runs/b', weight=2.0),
         TeacherName(text='table:c.parquet#embedding=vector,key=file', weight=1.0))
    """
    pieces = [text] if _there(text) else _pieces(text)
    return _read(pieces, text, _there, alone=len(pieces) == 1)


def tables_alone(text: str) -> bool:
    """Whether only tables teach, by the words of a text alone: nothing is looked for.

    A text that begins with ``table:`` is no path, so its tables can be told; any other names one
    network at least, and may be a path, whatever commas and signs it has.

    Raises:
        Fault: as ``teachers_there``, of the tables of such a text.

    Example:
        >>> tables_alone("table:a.npy,table:b.npy=2"), tables_alone("table:a.npy,runs/lr=0")
        (True, False)
    """
    if not text.startswith(TABLE):
        return False
    pieces = _pieces(text)
    told = [piece for piece in pieces if not piece or piece.startswith(TABLE)]
    _read(told, text, lambda _: False, alone=len(pieces) == 1)
    return told == pieces


def _read(
    pieces: Iterable[str], text: str, there: Callable[[str], bool], *, alone: bool
) -> tuple[TeacherName, ...]:
    found = tuple(_teacher(piece, text, there, alone=alone) for piece in pieces)
    for each in found:
        if [other.text for other in found].count(each.text) > 1:
            raise Fault(f"teachers {text!r}: {each.text!r} is there twice; weigh it instead")
        table_of(each.text)  # refuses what is misspelt
    return found


def table_of(text: str) -> TableName | None:
    """The table that a text names; ``None`` where it names none.

    Raises:
        Fault: the file's type is none that is read, or a role is unknown or there twice.
    """
    if not text.startswith(TABLE):
        return None
    place, columns = file_and_columns(
        text.removeprefix(TABLE), SUFFIXES, ROLES, bare=("logits", "embedding")
    )
    if not place:
        raise Fault(f"{text!r} names no file; wanted table:FILE, with rows for the images")
    path = path_of(place)
    if path.suffix.lower() not in SUFFIXES:
        more = "; save one array of it as .npy" if path.suffix.lower() == ".npz" else ""
        raise Fault(f"{path}: a table is one of {', '.join(SUFFIXES)}, got {path.suffix!r}{more}")
    return TableName(path, tuple(columns.items()))


def several(text: str | None) -> bool:
    """Whether a recipe's teacher is more than one network: a table, or several."""
    if text is None:
        return False
    named = teachers_there(text)
    return len(named) > 1 or named[0].table is not None


def _there(text: str) -> bool:
    """Whether a text as a whole is a network's folder or file (``MODEL@FILE``)."""
    model, _, place = text.partition("@")
    several = len(_OUTSIDE.split(model)) > 1
    return _exists(text) or bool(place and not several and _exists(place))


def _exists(place: str) -> bool:
    try:
        return Path(place).exists()
    except OSError:  # a list of teachers may be longer than any name
        return False


def _pieces(text: str) -> list[str]:
    """Parts at commas, but for those between the columns of one table."""
    found: list[str] = []
    for piece in _OUTSIDE.split(text):
        inside = bool(found) and found[-1].startswith(TABLE) and "#" in found[-1]
        if inside and piece.partition("=")[0] in ROLES:
            found[-1] += f",{piece}"
        else:
            found.append(piece.strip())
    return found


def _teacher(piece: str, text: str, there: Callable[[str], bool], *, alone: bool) -> TeacherName:
    if not piece:
        raise Fault(f"teachers {text!r}: one of them has no name")
    found = _WEIGHT.fullmatch(piece)
    # a table's last column may be called 2, and a lone teacher's folder lr=0.1
    within = found is not None and _is_column(found["rest"])
    if found is None or alone or within or there(piece):
        return TeacherName(piece)
    try:
        weight = float(found["weight"])
    except ValueError:
        raise Fault(f"teachers {text!r}: {found['weight']!r} is no weight") from None
    if not 0 < weight < float("inf"):
        raise Fault(f"teachers {text!r}: a weight is a number over 0, got {found['weight']}")
    return TeacherName(found["rest"], weight)


def _is_column(rest: str) -> bool:
    """Whether a table's name, cut before a number, ends in a role that wants a column."""
    return rest.startswith(TABLE) and bool(re.search(rf"[#,](?:{'|'.join(ROLES)})$", rest))
