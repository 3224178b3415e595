"""What went wrong, as the one line that the user needs."""

import re
import sys
import sysconfig
import traceback
from pathlib import Path

import relatum

LIBRARIES = tuple(
    Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)
"""As torch says it of the CPU, and NCCL of a GPU, in no class of its own."""


def explain(error: BaseException) -> tuple[str, int] | None:
    """A line and an exit code for what the user can mend; ``None`` for a fault of ours."""
    from relatum.faults import Fault

    if "torch" in sys.modules and (said := _of_training(error)) is not None:
        return said
    if isinstance(error, Fault):
        return _with_place(error), 2
    place = users_place(error)
    if place:
        return f"{place}: {type(error).__name__}: {_first_line(error)}", 2
    if isinstance(error, OSError):
        return _refused(error), 2
    return None


def _of_training(error: BaseException) -> tuple[str, int] | None:
    """Of what only training raises, for which torch is there already."""
    from torch import OutOfMemoryError

    from relatum.checkpoint import Interrupted
    from relatum.faults import Fault
    from relatum.launch import Lost
    from relatum.tally import NotFinite

    if isinstance(error, Interrupted):
        return f"{error}, and saved; go on with --resume", 128 + error.signum
    if isinstance(error, Lost):
        return str(error), 1
    if isinstance(error, NotFinite):
        return _with_place(error), 2
    lack = isinstance(error, OutOfMemoryError | MemoryError) or _NO_MEMORY.search(str(error))
    if lack and not isinstance(error, Fault):
        place = users_place(error)
        said = f"there is not enough memory{_where()}{f' ({place})' if place else ''}"
        return f"{said}; choose a smaller --microbatch or --batch", 2
    return None


def _with_place(error: BaseException) -> str:
    """What it says, and where in the user's own code it comes from, if it does."""
    place = users_place(error.__cause__) if error.__cause__ else ""
    return f"{error} ({place})" if place else str(error)


def _where() -> str:
    """On which of several processes."""
    from relatum import world

    return f" on process {world.rank()} of {world.size()} (from 0)" if world.size() > 1 else ""


def users_place(error: BaseException) -> str:
    """The last line of a file of the user's own that an error came through; empty for none.

    The user's are all files but those of the libraries and of relatum itself.
    """
    if isinstance(error, SyntaxError) and error.filename and _users(error.filename):
        return f"{error.filename}, line {error.lineno}"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if _users(each.filename)]
    if not frames:
        return ""
    return f"{frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name}"


def _users(file: str) -> bool:
    path = Path(file)
    own = (Path(relatum.__file__).parent, *LIBRARIES)
    # Debian keeps packages in folders that sysconfig does not name
    packages = {"site-packages", "dist-packages"} & set(path.parts)
    return path.is_file() and not packages and not any(path.is_relative_to(each) for each in own)


def _refused(error: OSError) -> str:
    """What the operating system, or a server, did not do."""
    if error.filename is None or error.strerror is None:
        return f"{type(error).__name__}: {_first_line(error)}"
    return f"{error.filename}: {error.strerror}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
