"""How the names of methods, networks and sets are written. Needs no torch, so it refuses at once.

What exists is handed in: a mistyped name is told the nearest of those.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from relatum.faults import Fault

Word = Literal["exact", "fast", "max"]
Asked = Literal["auto", "float32", "bfloat16"]
TASK = "ce"
"""What cross-entropy with the labels is called, in objectives and on the command line."""


@dataclass(frozen=True)
class Part:
    """One piece of a method's name: ``name@tap=weight``."""

    name: str
    on: str | tuple[str, ...] | None = None
    weight: float | None = None


def parse(text: str, families: Mapping[str, str]) -> tuple[Part, ...]:
    """Read a method's name.

    Args:
        text: the name.
        families: what each of the methods that exist compares (``Method.family``).

    Raises:
        Fault: it cannot be read, or names a method that does not exist.

    Example:
        >>> parse("sp=3000+kd", {"sp": "maps", "kd": "logits"})
        (Part(name='sp', on=None, weight=3000.0), Part(name='kd', on=None, weight=None))
    """
    pieces = re.split(r"(?<![0-9.][eE])\+", text)
    parts = tuple(_part(piece, text, families) for piece in pieces)
    names = [part.name for part in parts]
    alone = [name for name in names if families.get(name) == "task"]
    if alone and len(parts) > 1:
        raise Fault(f"method {text!r}: {alone[0]!r} is the student alone, it joins with nothing")
    if set(names) == {TASK}:
        raise Fault(f"method {text!r}: cross-entropy alone is called 'none'")
    if names.count(TASK) > 1:
        raise Fault(f"method {text!r}: cross-entropy is there twice")
    for part in parts:
        if part.name in alone and (part.weight is not None or part.on is not None):
            raise Fault(f"method {text!r}: {part.name!r} takes no weight and no tap")
        if part.name == TASK and part.on is not None:
            raise Fault(f"method {text!r}: cross-entropy reads the output, it takes no tap")
    return parts


def split(text: str, families: Mapping[str, str]) -> list[str]:
    """The methods of a list ``kd,sp,rrkd``.

    Raises:
        Fault: one of them is empty, twice there, or unknown.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if not name:
            raise Fault(f"methods {text!r}: one of them has no name")
        if names.count(name) > 1:
            raise Fault(f"methods {text!r}: {name!r} is there twice")
        parse(name, families)
    return names


def _part(piece: str, text: str, families: Mapping[str, str]) -> Part:
    name, _, weight = piece.strip().partition("=")
    name, _, tap = name.partition("@")
    if name not in families and name != TASK and ":" not in name:
        if not name:
            raise Fault(f"method {text!r}: a name is missing (relatum list methods)")
        raise Fault(f"{unknown('method', name, [*families, TASK])} (relatum list methods)")
    value = _weight(weight, text) if "=" in piece else None
    if "@" in piece and not tap:
        raise Fault(f"method {text!r}: no tap is named behind '@'")
    several = tuple(tap.split("&")) if "&" in tap else tap
    return Part(name, several or None, value)


def _weight(text: str, method: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Fault(f"method {method!r}: {text!r} is no weight") from None
    if not 0 <= value < float("inf"):
        raise Fault(f"method {method!r}: a weight is a number from 0 on, got {text}")
    return value


def unknown(what: str, name: str, there: Iterable[str]) -> str:
    """What is said of a name that does not exist: the nearest that does."""
    near = get_close_matches(name.lower(), there, n=1, cutoff=0)
    return f"there is no {what} {name!r}; the nearest is {near[0]!r}"


def unknown_model(name: str, there: Iterable[str]) -> str:
    """Likewise of a network, which may be somebody else's."""
    asked, there = name.lower(), list(there)
    longer = [each for each in there if each.startswith(asked)]  # "ResNet50" is not resnet56
    near = dict.fromkeys(longer + get_close_matches(asked, there, n=3, cutoff=0.4))
    return (
        f"no model is called {name!r}; the nearest are {', '.join(list(near or there)[:3])}"
        " (others: timm/NAME, torchvision/NAME, my_file:make_model)"
    )


def unknown_set(name: str, there: Iterable[str]) -> str:
    """Likewise of an image set, which may be a folder."""
    there = list(there)
    near = get_close_matches(name, there, n=1, cutoff=0.0)
    return (
        f"no data set is called {name!r}; the nearest is {near[0]!r}, there are"
        f" {', '.join(there)}, and a folder of images is named by its path (folder:PATH)"
    )


def unknown_teacher(text: str) -> str:
    """What is said of a teacher that is neither a file nor a folder."""
    return (
        f"the teacher {text!r} is no folder of a run and no file; train one with"
        f" 'relatum teach --model {text}', or give its weights as {text}@FILE"
    )


def is_folder(name: str, there: Iterable[str]) -> bool:
    """Whether a set is named by the path of a folder of images."""
    path = "/" in name or os.sep in name or (name not in there and Path(name).is_dir())
    return name.startswith("folder:") or path
