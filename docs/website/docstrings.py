"""Docstrings, taken apart for a page of their own."""

import inspect
import re
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

SECTION = re.compile(r"^(Args|Raises|Returns|Example|Attributes):$", re.MULTILINE)
ENTRY = re.compile(r"^(?P<name>\w+): (?P<text>.*(?:\n(?: .*)?)*)", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What the docstring of a class says.

    Attributes:
        text: all before the first section, formulas as they are written there.
        arguments: what it says of each.
        example: of its use, with ``>>>`` before every line; empty where there is none.
    """

    text: str
    arguments: dict[str, str]
    example: str


def told(thing: type) -> Told:
    """What the docstring of a class says."""
    text, *sections = SECTION.split(inspect.getdoc(thing) or "")
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    arguments = {
        each["name"]: " ".join(each["text"].split())
        for each in ENTRY.finditer(dedent(found.get("Args", "")))
    }
    return Told(text.strip(), arguments, dedent(found.get("Example", "")).strip())


def defaults(thing: type) -> dict[str, str]:
    """What each argument of a class's constructor is, if nothing is said; empty where it must be.

    Example:
        >>> from relatum.losses import SP
        >>> defaults(SP)
        {'batch_invariant': 'False'}
    """
    empty = inspect.Parameter.empty
    return {
        name: "" if each.default is empty else _shown(each.default)
        for name, each in inspect.signature(thing).parameters.items()
    }


def heading(module: Any) -> str:
    """The first line of a module's docstring, without its full stop."""
    return (inspect.getdoc(module) or "").partition("\n")[0].removesuffix(".")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
