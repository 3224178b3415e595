"""What the folders under ``runs/`` are called that nobody named."""

import hashlib
import json
import re
from pathlib import Path

RUNS = Path("runs")
_PLAIN = re.compile(r"[\w+=@][\w+=@.-]*")
"""A name that no shell reads anything into."""


def usual(text: str, name: str, data: str, begin: str = "", end: str = "") -> Path:
    """The folder for what a text names, of runs on a set.

    A plain name is taken as it is, and so a short one for most. One that is not plain is made so,
    and gets eight digits of the text's SHA-256; one that an earlier version made is gone on with.
    Where the runs in that folder are all on another set (``/a/photos`` and ``/b/photos`` have one
    name), it is left to them, and the name gets eight digits of text and set.

    Args:
        text: all that tells it from others on the same set.
        name: the part of it that people know it by.
        data: the set.
        begin: before it, as of ``"bench-"``.
        end: behind it.

    Example:
        >>> str(usual("photos", "photos", "photos", "tune-"))
        'runs/tune-photos'
        >>> str(usual("wds:a-{0..9}.tar", "wds-a-{0..9}.tar", "wds:a-{0..9}.tar"))
        'runs/wds-a-0..9-.tar-2c36c856'
    """
    folder = RUNS / f"{begin}{name}{end}"
    if not (_PLAIN.fullmatch(name) or (name and folder.is_dir())):
        folder = _marked(text, name, begin, end)
    alike = _spelt_alike(data)
    own = _marked(alike if text == data else f"{text} on {alike}", name, begin, end)
    return own if own.is_dir() or _holds_another(folder, data) else folder


def of_set(data: str, begin: str = "") -> Path:
    """The folder for a set, by its name or the last part of its path."""
    name = data.rstrip("/").split("/")[-1].replace(":", "-")
    if name in ("", ".", ".."):
        name = Path(data).resolve().name
    return usual(data, name, data, begin)


def _marked(text: str, name: str, begin: str, end: str) -> Path:
    """A folder of a plain name with eight digits that stand for a text."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    plain = re.sub(r"[^\w+=@.]+", "-", name).strip("-.")
    return RUNS / f"{begin}{f'{plain}-{mark}' if plain else mark}{end}"


def _holds_another(folder: Path, data: str) -> bool:
    """Whether there are runs in a folder, and none is on this set."""
    found = False
    for path in folder.rglob("recipe.json"):
        try:
            there = json.loads(path.read_text(encoding="utf-8"))["dataset"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what it is is said where it is gone on with
        if _spelt_alike(str(there)) == _spelt_alike(data):
            return False
        found = True
    return found


def _spelt_alike(data: str) -> str:
    """A set, written in one way: ``photos/``, ``./photos`` and ``folder:photos`` are one folder.

    What lies in the current one, as ``runs/`` does, is named from there, so that both may move.
    """
    path = Path(data.removeprefix("folder:"))
    if not path.is_dir():
        return data
    path, here = path.resolve(), Path.cwd().resolve()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
