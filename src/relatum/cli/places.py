"""What the folders under ``runs/`` are called that nobody named."""

import hashlib
import re
from pathlib import Path

RUNS = Path("runs")
_PLAIN = re.compile(r"[\w+=@][\w+=@.-]*")
"""A name that no shell reads anything into."""


def usual(text: str, name: str, begin: str = "", end: str = "") -> Path:
    """The folder for what a text names.

    A name that is no plain one is made so, and gets eight digits of the text's SHA-256, so that
    two texts are two folders. One of that name that an earlier version made is gone on with.

    Args:
        text: all that tells it from others.
        name: the part of it that people know it by.
        begin: before it, as of ``"bench-"``.
        end: behind it.

    Example:
        >>> str(usual("photos", "photos", "tune-"))
        'runs/tune-photos'
        >>> str(usual("wds:a-{0..9}.tar", "wds-a-{0..9}.tar"))
        'runs/wds-a-0..9-.tar-2c36c856'
    """
    folder = RUNS / f"{begin}{name}{end}"
    if _PLAIN.fullmatch(name) or (name and folder.is_dir()):
        return folder
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    plain = re.sub(r"[^\w+=@.]+", "-", name).strip("-.")
    return RUNS / f"{begin}{f'{plain}-{mark}' if plain else mark}{end}"


def of_set(data: str, begin: str = "") -> Path:
    """The folder for a set, by its name or the last part of its path."""
    name = data.rstrip("/").split("/")[-1].replace(":", "-")
    if name in ("", ".", ".."):
        name = Path(data).resolve().name
    return usual(data, name, begin)
