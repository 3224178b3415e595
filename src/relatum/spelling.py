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


_GRAMMAR = (
    "a method is written NAME(OPTION=VALUE)@TAP=WEIGHT, '+' joins several and ',' lists them:"
    " kd(temperature=2)+sp@maps=0.5,rrkd"
)
_OUTSIDE = r"(?![^()]*\))"
"""Behind what separates: it does not stand within brackets."""


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


def unknown(what: str, name: str, there: Iterable[str]) -> str:
    """What is said of a name that does not exist: the nearest that does.

    Example:
        >>> unknown("method", "kkd(temperature=2)", ["kd", "sp"])
        "there is no method 'kkd(temperature=2)'; the nearest is 'kd'"
    """
    bare = re.split(r"[(@=+]", name.lower())[0] or name
    near = get_close_matches(bare, there, n=1, cutoff=0)
    return f"there is no {what} {name!r}; the nearest is {near[0]!r}"


def unknown_model(name: str, there: Iterable[str]) -> str:
    """Likewise of a network, which may be somebody else's."""
    asked, there = name.lower(), list(there)
    longer = [each for each in there if each.startswith(asked)]  # "ResNet50" is not resnet56
    near = dict.fromkeys(longer + get_close_matches(asked, there, n=3, cutoff=0.4))
    return (
        f"no model is called {name!r}; the nearest are {', '.join(list(near or there)[:3])}"
        " (others: timm/NAME, torchvision/NAME, hf/NAME, my_file:make_model)"
    )


def unknown_set(name: str, there: Iterable[str]) -> str:
    """Likewise of an image set, which may be a folder."""
    there = list(there)
    near = get_close_matches(name, there, n=1, cutoff=0.0)
    return (
        f"no data set is called {name!r}; the nearest is {near[0]!r}, there are"
        f" {', '.join(there)}, and a folder of images is named by its path (folder:PATH); others of"
        " your own by table:FILE, hf:NAME or wds:SHARDS"
    )


def unknown_teacher(text: str) -> str:
    """What is said of a teacher that is neither a file nor a folder."""
    return (
        f"the teacher {text!r} is no folder of a run and no file; train one with"
        f" 'relatum teach --model {text}', or give its weights as {text}@FILE"
    )


OWN = {
    "folder": "a folder of images, with a folder for each class or without",
    "table": "a CSV or Parquet file that lists images, and their classes if they have any",
    "hf": "a set of the Hugging Face hub (OWNER/NAME), or one saved from there",
    "wds": "WebDataset shards, plain tar files: train-{000..099}.tar",
}
"""Images of a user's own: what stands before the colon, and what that is."""
TABLES = (".csv", ".tsv", ".parquet")


def own_set(name: str, there: Iterable[str]) -> tuple[str, str] | None:
    """Where a user's own images are: of which kind (``OWN``), and the text that says where.

    Example:
        >>> own_set("table:pets.csv", []), own_set("shards/{00..11}.tar", []), own_set("mnist", [])
        (('table', 'pets.csv'), ('wds', 'shards/{00..11}.tar'), None)
    """
    kind, colon, rest = name.partition(":")
    if colon and kind in OWN:
        return kind, rest
    if name in there or Path(name).is_dir():
        return ("folder", name) if is_folder(name, there) else None
    file = name.partition("#")[0].lower()
    if file.endswith(TABLES):
        return "table", name
    if file.endswith(".tar"):
        return "wds", name
    return ("folder", name) if is_folder(name, there) else None


def path_of(text: str) -> Path:
    """A path as a user writes it, ``~`` and ``~NAME`` being home folders.

    Raises:
        Fault: nobody of that name has one.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise Fault(
            f"{text}: there is no home folder {text.partition('/')[0]!r}; write the path in full,"
            " or ./~… for a name that begins so"
        ) from error


def is_folder(name: str, there: Iterable[str]) -> bool:
    """Whether a set is named by the path of a folder of images."""
    path = "/" in name or os.sep in name or (name not in there and Path(name).is_dir())
    return name.startswith("folder:") or path


def shares(given: str | Mapping[str, object]) -> str | dict[str, float]:
    """The shares of ``ce=0.5,sp=0.5``, or ``equal``.

    Args:
        given: the text, or the shares by name.

    Raises:
        ValueError: it is neither, or a share is no number over 0.

    Example:
        >>> shares("ce=1,sp=3")
        {'ce': 1.0, 'sp': 3.0}
    """
    if given == "equal":
        return "equal"
    pairs: list[tuple[str, object]] = list(given.items()) if isinstance(given, Mapping) else []
    if isinstance(given, str):
        for each in given.split(","):
            name, equals, value = (word.strip() for word in each.partition("="))
            if not (name and equals):
                raise ValueError("wanted 'equal' or shares such as ce=0.5,sp=0.5")
            pairs.append((name, value))
    found: dict[str, float] = {}
    for name, said in pairs:
        try:
            share = float(str(said))
        except ValueError:
            share = 0.0
        if not 0 < share < float("inf"):
            raise ValueError(f"the share of {name} is a number over 0, as in ce=0.5,sp=0.5")
        if name in found:
            raise ValueError(f"{name} has two shares")
        found[name] = share
    if not found:
        raise ValueError("no shares are named")
    return found
