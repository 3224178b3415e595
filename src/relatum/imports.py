"""Import somebody's own object by the text that names it, so users extend without touching us."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module, invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from relatum.types import Fault


def from_path(text: str) -> Any:
    """The object that ``module:name`` or ``folder/file.py:name`` means.

    A module is looked for in the current directory first, then among the installed ones, as
    ``python -c`` does. The search path is as before when this returns.

    Raises:
        Fault: the text has no colon, or the file, the module, something that it imports or
            the name in it does not exist.

    Example:
        >>> from_path("math:floor")(2.7)
        2
    """
    place, colon, name = text.rpartition(":")
    if not (place and colon and name):
        raise Fault(f"wanted 'module:name' or 'file.py:name', got {text!r}")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        names = [each for each in vars(module) if not each.startswith("_")]
        raise Fault(f"{place} has no {name!r}{_nearest(name, names)}")
    return getattr(module, name)


def _module(place: str) -> ModuleType:
    with _searching(Path.cwd()):
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            missing = error.name or place
            if place != missing and not place.startswith(f"{missing}."):
                raise _lacks(place, missing) from error
    nearest = _nearest(place, [each.stem for each in Path.cwd().glob("*.py")])
    raise Fault(f"no module {place!r} here ({Path.cwd()}) or installed{nearest}")


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        nearest = _nearest(path.name, [each.name for each in path.parent.glob("*.py")])
        raise Fault(f"no file {str(path)!r}{nearest}")
    path = path.resolve()
    # The whole path, so that a file called json.py neither is nor hides the module json.
    known = str(path)
    if known in sys.modules:
        return sys.modules[known]
    spec = spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise Fault(f"{path} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[known] = module
    try:
        with _searching(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[known]
        if isinstance(error, ModuleNotFoundError):
            raise _lacks(path.name, error.name) from error
        raise
    return module


@contextmanager
def _searching(folder: Path) -> Iterator[None]:
    invalidate_caches()
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _lacks(place: str, missing: str | None) -> Fault:
    return Fault(f"{place} imports {missing!r}, which is not installed: pip install it")


def _nearest(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.4) or sorted(names)[:5]
    return f"; the nearest are {', '.join(near)}" if near else ""
