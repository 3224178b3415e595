"""The kinds of files that a student is written as."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relatum.export import onnx_file, pt2_file, timm_folder, weights_file
from relatum.export.graph import Graph, Runs
from relatum.record import WEIGHTS


class _Save(Protocol):
    def __call__(self, graph: Graph, path: Path, about: Mapping[str, str], /) -> None: ...


class _Open(Protocol):
    def __call__(self, graph: Graph, path: Path, /) -> Runs: ...


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        file: its name.
        save: writes it.
        opened: reads it again, as who gets it would.
        of: the fingerprints of the weights that a file is of, as far as it says; nothing in it is
            run, and it raises whatever its reader does where the file is another kind.
        check: refuses what it cannot hold, before anything is written.
        bare: whether it holds the weights of the whole network and no computation.
    """

    file: str
    save: _Save
    opened: _Open
    of: Callable[[Path], Collection[str]]
    check: Callable[[Graph], None] = lambda graph: None
    bare: bool = False


FORMATS: dict[str, Format] = {
    "safetensors": Format(
        WEIGHTS, weights_file.save, weights_file.opened, weights_file.of, bare=True
    ),
    "onnx": Format(onnx_file.NAME, onnx_file.save, onnx_file.opened, onnx_file.of, onnx_file.check),
    "pt2": Format(pt2_file.NAME, pt2_file.save, pt2_file.opened, pt2_file.of, pt2_file.check),
    "timm": Format(
        timm_folder.NAME,
        timm_folder.save,
        timm_folder.opened,
        timm_folder.of,
        timm_folder.check,
        bare=True,
    ),
}
"""All of them, by name."""
