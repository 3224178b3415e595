"""How methods are written: ``name(option=value)@tap=weight``, joined by ``+``, listed by commas.

Needs no torch, so that a misspelt method is refused at once. What exists is handed in.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relatum.faults import Fault
from relatum.spelling import unknown

TASK = "ce"
"""What cross-entropy with the labels is called, in objectives and on the command line."""
_GRAMMAR = (
    "a method is written NAME(OPTION=VALUE)@TAP=WEIGHT, '+' joins several and ',' lists them:"
    " kd(temperature=2)+sp@maps=0.5,rrkd"
)
_OUTSIDE = r"(?![^()]*\))"
"""Behind what separates: it does not stand within brackets."""

Options = tuple[tuple[str, bool | int | float | str], ...]
"""Arguments of a loss's constructor, by name."""


@dataclass(frozen=True)
class Part:
    """One piece of a method's name: ``name(option=value)@tap=weight``."""

    name: str
    on: str | tuple[str, ...] | None = None
    weight: float | None = None
    options: Options = ()


def parse(text: str, families: Mapping[str, str]) -> tuple[Part, ...]:
    """Read a method's name.

    Args:
        text: the name.
        families: what each of the methods that exist compares (``Method.family``).

    Raises:
        Fault: it cannot be read, or names a method that does not exist.

    Example:
        >>> for part in parse("sp=3000+kd(temperature=2)", {"sp": "maps", "kd": "logits"}):
        ...     print(part)
        Part(name='sp', on=None, weight=3000.0, options=())
        Part(name='kd', on=None, weight=None, options=(('temperature', 2),))
    """
    pieces = re.split(rf"(?<![0-9.][eE])\+{_OUTSIDE}", text)
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
        if part.name in (TASK, *alone) and part.options:
            raise Fault(f"method {text!r}: {part.name!r} has no options")
        if part.name == TASK and part.on is not None:
            raise Fault(f"method {text!r}: cross-entropy reads the output, it takes no tap")
    return parts


def split(text: str, families: Mapping[str, str]) -> list[str]:
    """The methods of a list ``kd,sp,rrkd``.

    Raises:
        Fault: one of them is empty, twice there, or unknown.
    """
    names = [name.strip() for name in re.split(f",{_OUTSIDE}", text)]
    for name in names:
        if not name:
            raise Fault(f"methods {text!r}: one of them has no name")
        if names.count(name) > 1:
            raise Fault(f"methods {text!r}: {name!r} is there twice")
        parse(name, families)
    return names


def _part(piece: str, text: str, families: Mapping[str, str]) -> Part:
    piece, options = _without_options(piece, text)
    name, _, weight = piece.strip().partition("=")
    name, _, tap = name.partition("@")
    if name not in families and name != TASK and ":" not in name:
        if not name:
            raise Fault(f"method {text!r}: a name is missing (relatum list methods)")
        if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
            raise Fault(f"method {text!r}: {name!r} is no name; {_GRAMMAR}")
        raise Fault(f"{unknown('method', name, [*families, TASK])} (relatum list methods)")
    value = _weight(weight, text) if "=" in piece else None
    if "@" in piece and not tap:
        raise Fault(f"method {text!r}: no tap is named behind '@'")
    several = tuple(tap.split("&")) if "&" in tap else tap
    return Part(name, several or None, value, options)


def written(parts: Iterable[Part]) -> str:
    """The name of a method of these parts: what ``parse`` reads.

    Example:
        >>> written([Part("sp", "maps", 3000.0), Part("kd", options=(("temperature", 2.0),))])
        'sp@maps=3000.0+kd(temperature=2.0)'
    """
    return "+".join(map(_written, parts))


def _written(part: Part) -> str:
    on = part.on if isinstance(part.on, str) else "&".join(part.on or ())
    given = ",".join(f"{name}={value}" for name, value in part.options)
    weight = "" if part.weight is None else f"={part.weight!r}"
    return part.name + f"({given})" * bool(given) + f"@{on}" * bool(on) + weight


def _without_options(piece: str, text: str) -> tuple[str, Options]:
    """A piece without the options behind its name, and these."""
    found = re.match(r"([^(@=]+)\(([^()]*)\)(.*)", piece.strip())
    name, inside, rest = (piece, "", piece) if found is None else found.groups()
    if set(rest) & set("()"):
        raise Fault(
            f"method {text!r}: brackets open and close once, right behind the name; {_GRAMMAR}"
        )
    if found is None:
        return piece, ()
    options: dict[str, bool | int | float | str] = {}
    for each in inside.split(","):
        option, equals, value = (word.strip() for word in each.partition("="))
        if not (option and equals and value):
            raise Fault(
                f"method {text!r}: options are {name}(name=value, …), got {each.strip()!r} in"
                " brackets"
            )
        if option in options:
            raise Fault(f"method {text!r}: {option!r} is there twice")
        options[option] = plain(value)
    return name + rest, tuple(options.items())


def plain(text: str) -> bool | int | float | str:
    """What a text means: a truth, a number, or itself.

    Example:
        >>> plain("4"), plain("1e-2"), plain("true"), plain("before")
        (4, 0.01, True, 'before')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _weight(text: str, method: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Fault(f"method {method!r}: {text!r} is no weight") from None
    if not 0 <= value < float("inf"):
        raise Fault(f"method {method!r}: a weight is a number from 0 on, got {text}")
    return value
