"""Every case of the contract suite, from the files beside this one."""

from importlib import import_module
from pathlib import Path

from tests.losses.contract import Case

_FILES = sorted(Path(__file__).parent.glob("[a-z]*.py"))
CASES: tuple[Case, ...] = tuple(
    case for file in _FILES for case in import_module(f"{__name__}.{file.stem}").CASES
)
