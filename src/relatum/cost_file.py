"""``cost.json``: what the networks of a run cost, written once they were timed, read by reports."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from relatum import json_file
from relatum.evaluate.latency import Timing
from relatum.weights import write

TEACHER, STUDENT = "teacher", "student"
NAME = "cost.json"


class Costs(BaseModel):
    """What one network costs."""

    model_config = ConfigDict(frozen=True)

    network: str
    parameters: int | None = None
    macs: int | None = None
    """Multiply-accumulates an image."""
    bytes: int | None = None
    """Of its file of weights, or of what was exported."""
    timings: tuple[Timing, ...] = ()


class Measured(BaseModel):
    """The networks of a run, by their parts in it."""

    model_config = ConfigDict(frozen=True)

    networks: dict[str, Costs]
    """``teacher``, ``student``, and files that were exported (``student.onnx``)."""

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        write(folder / NAME, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> "Measured | None":
        """Read it; ``None`` where nothing was measured.

        Raises:
            Fault: it is damaged.
        """
        return json_file.read(folder / NAME, cls, "measure again")
