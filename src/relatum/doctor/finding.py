"""One line of what was looked at: it is well, it may be meant so, or it will go wrong."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        level: ``ok``; ``unseen``, where it could not be looked at; ``warning``, of what may be
            meant so; ``problem``, with which the training would be for nothing.
        check: what was looked at, in a word or two.
        text: what was found.
        way_out: what to do, where it is not ok.
    """

    level: Literal["ok", "unseen", "warning", "problem"]
    check: str
    text: str
    way_out: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", check, text)


def unseen(check: str, text: str) -> Finding:
    """It could not be looked at, and nothing is wrong with that."""
    return Finding("unseen", check, text)


def warning(check: str, text: str, way_out: str) -> Finding:
    """It may be meant so."""
    return Finding("warning", check, text, way_out)


def problem(check: str, text: str, way_out: str) -> Finding:
    """It will go wrong."""
    return Finding("problem", check, text, way_out)
