"""How a table's columns are named behind its file: ``FILE#ROLE=COLUMN,ROLE=COLUMN``.

By its words alone: nothing is looked for on the disk.
"""

import re
from collections.abc import Collection, Iterable

from relatum.faults import Fault
from relatum.spelling import unknown


def file_and_columns(
    text: str, suffixes: Iterable[str], roles: Collection[str], *, bare: Collection[str] = ()
) -> tuple[str, dict[str, str]]:
    """The file that a text names, and which of its columns is what.

    A ``#`` within the file's own name is a part of that: the columns stand behind one of the
    suffixes.

    Args:
        text: what a user writes.
        suffixes: in which files of such tables end.
        roles: what a column may be.
        bare: roles that may stand without a column.

    Raises:
        Fault: a role is unknown, there twice, or without its column.

    Example:
        >>> file_and_columns("a#1.csv#label=what", (".csv",), ("image", "label"))
        ('a#1.csv', {'label': 'what'})
    """
    ends = "|".join(map(re.escape, suffixes))
    found = re.fullmatch(rf"(.+?(?:{ends}))(?:#(.*))?", text, re.IGNORECASE | re.DOTALL)
    if found:
        file, told = found.groups()
    else:
        file, hash_, rest = text.partition("#")
        told = rest if hash_ else None
    columns: dict[str, str] = {}
    for each in () if told is None else told.split(","):
        role, equals, column = (part.strip() for part in each.partition("="))
        if role not in roles:
            allowed = ", ".join(f"{each}=…" for each in roles)
            raise Fault(
                f"{text}: {unknown('role of a column', role, roles)}; behind '#' stand the names of"
                f" columns, {allowed}"
            )
        if role in columns:
            raise Fault(f"{text}: the column of {role!r} is named twice")
        if not column and (equals or role not in bare):
            raise Fault(f"{text}: no column is named for {role!r}; write {role}=COLUMN")
        columns[role] = column
    return file, columns
