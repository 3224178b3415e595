"""Which column of a table of ``datasets`` holds the images, and which the classes."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from relatum.types import Fault

LABELS = ("label", "class")
"""What a column of classes may be called that is not of the type ``ClassLabel``."""
NAMES = ("int", "uint", "string", "large_string", "bool")
"""Types of columns whose values can be names of classes."""


def columns(name: str, rows: Any, asked: Mapping[str, str]) -> tuple[str, str | None]:
    """The column of images, and that of classes, where there is one.

    Args:
        name: of the set.
        rows: of one split.
        asked: the columns that somebody named, as ``image`` and ``label``.

    Raises:
        Fault: there is none that holds images, or not the one that was named, or it holds
            something else.
    """
    every: Mapping[str, Any] = rows.features
    for role in ("image", "label"):
        if role in asked and asked[role] not in every:
            near = get_close_matches(asked[role], every, n=1, cutoff=0.0)
            raise Fault(
                f"{name}: has no column {asked[role]!r}; the nearest is {near[0]!r}, there are"
                f" {_listed(every)}"
            )
    images = [each for each, kind in every.items() if _holds_images(kind)]
    image = asked.get("image", next(iter(images), None))
    if image is None or image not in images:
        which = "no column holds images" if image is None else f"{image!r} holds no images"
        raise Fault(f"{name}: {which}; there are {_listed(every)}")
    return image, _label(name, every, asked.get("label"))


def _label(name: str, every: Mapping[str, Any], asked: str | None) -> str | None:
    from datasets import ClassLabel

    if asked is not None:
        if not _holds_classes(every[asked]):
            raise Fault(
                f"{name}: {asked!r} holds {_kind(every[asked])}, and classes are whole numbers or"
                f" texts; there are {_listed(every)}"
            )
        return asked
    labels = [each for each, kind in every.items() if isinstance(kind, ClassLabel)]
    plain = [
        each for each, kind in every.items() if each.lower() in LABELS and _holds_classes(kind)
    ]
    return next(iter([*labels, *plain]), None)


def classes_of(rows: Any, label: str) -> Sequence[str] | None:
    """The names of a column's classes, in the order of their numbers; where it knows them."""
    names = getattr(rows.features[label], "names", None)
    return None if names is None else [str(each) for each in names]


def _holds_images(kind: Any) -> bool:
    """Whether a column is of images, or is as ``datasets`` stores them and does not say so."""
    from datasets import Image

    return isinstance(kind, Image) or (isinstance(kind, dict) and set(kind) == {"bytes", "path"})


def _holds_classes(kind: Any) -> bool:
    return str(getattr(kind, "dtype", "")).startswith(NAMES)


def _kind(kind: Any) -> str:
    """The type of a column, in a word."""
    if _holds_images(kind):
        return "images"
    said = str(getattr(kind, "dtype", None) or type(kind).__name__.lower())
    return said if said.isidentifier() else "other"


def _listed(every: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({_kind(kind)})" for name, kind in every.items())[:200]
