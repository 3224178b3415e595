"""``export.json``: which files were written of a student, and how each was compared."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from relatum import json_file
from relatum.export.check import Check
from relatum.weights import write

NAME = "export.json"


class Exported(BaseModel):
    """One file, or one folder."""

    model_config = ConfigDict(frozen=True)

    format: str
    bytes: int
    sha256: str = ""
    """Of the file, or of what ``sha256sum`` says of a folder's; empty in lists of before."""
    input: str
    """``normalised``, ``float`` (in [0, 1]) or ``uint8``."""
    input_shape: tuple[str | int, ...]
    """By axes; a free one by its name."""
    outputs: tuple[str, ...]
    opset: int | None = None
    """Of ONNX."""
    resized: str | None = None
    """What becomes of images of other sizes, where the file takes any."""
    preparation: str = ""
    """What is done to a picture before it enters."""
    check: Check


class Manifest(BaseModel):
    """What was written of one student."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    relatum: str
    torch: str
    model: str
    weights_sha256: str
    """Of the student's parameters and buffers, names included."""
    size: tuple[int, int, int]
    """Channels, height and width of what enters the network."""
    mean: tuple[float, ...]
    """What is subtracted from images in [0, 1], by whom they are normalised."""
    std: tuple[float, ...]
    """What they are then divided by."""
    classes: tuple[str, ...] = ()
    files: dict[str, Exported] = {}
    earlier: dict[str, str] = {}
    """Files that are still there of weights that the student no longer has, and their sums."""

    @property
    def sums(self) -> dict[str, str]:
        """SHA-256 of all files that an export wrote here, by name."""
        return self.earlier | {name: file.sha256 for name, file in self.files.items()}

    def save(self, folder: Path) -> None:
        """Write it beside the files."""
        write(folder / NAME, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> "Manifest | None":
        """Read it; ``None`` where there is none.

        Raises:
            Fault: it is damaged.
        """
        return json_file.read(folder / NAME, cls, "export again")
