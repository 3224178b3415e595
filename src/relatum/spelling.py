"""How the names of networks and sets are written. Needs no torch, so it refuses at once.

What exists is handed in: a mistyped name is told the nearest of those.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from relatum.faults import Fault

Word = Literal["exact", "fast", "max"]
Asked = Literal["auto", "float32", "bfloat16"]


def unknown(what: str, name: str, there: Iterable[str]) -> str:
    """What is said of a name that does not exist: the nearest that does.

    Example:
        >>> unknown("method", "kkd(temperature=2)", ["kd", "sp"])
        "there is no method 'kkd(temperature=2)'; the nearest is 'kd'"
    """
    bare = re.split(r"[(@=+]", name.lower())[0] or name
    near = get_close_matches(bare, there, n=1, cutoff=0)
    return f"there is no {what} {name!r}; the nearest is {near[0]!r}"


MEANT = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "size": "image_size",
}
"""What fields of a recipe are called elsewhere."""


def unknown_field(name: str, there: Iterable[str]) -> str:
    """Likewise of a field of a recipe; where none is near, all are listed.

    Example:
        >>> unknown_field("lr", ["labels", "learning_rate"])
        "a recipe has no field 'lr'; it is called 'learning_rate'"
    """
    wrong, there = f"a recipe has no field {name!r}", list(there)
    if (meant := MEANT.get(name.lower())) is not None:
        return f"{wrong}; it is called {meant!r}"
    if near := get_close_matches(name.lower(), there, n=1):
        return f"{wrong}; the nearest is {near[0]!r}"
    return f"{wrong}; there are {', '.join(there)}"


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
