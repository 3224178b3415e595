"""What student and teacher cost, side by side: size, work, and time where it was measured."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from relatum.evaluate.latency import Timing
from relatum.record import Record
from relatum.report import markup
from relatum.report.columns import Column
from relatum.report.provenance import Runs
from relatum.report.words import number, short
from relatum.types import Fault
from relatum.weights import write

TEACHER, STUDENT = "teacher", "student"
NAME = "cost.json"
"""What was measured of a run's networks, in its folder."""


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
        path = folder / NAME
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise Fault(f"{path} is damaged; delete it and measure again") from error


def cost_table(runs: Runs) -> str:
    """A table of the networks of some runs, a line for each; nothing without a student."""
    lines = _lines(runs)
    if not lines:
        return ""
    machines = dict.fromkeys(
        f"{each.device}, {each.threads} threads" if each.device == "cpu" else each.device
        for costs in lines.values()
        for each in costs.timings
    )
    about = (
        f"Times are medians of a forward pass in float32 on {' and '.join(machines)}, the networks"
        " in turns."
        if machines
        else "Times are measured by relatum report --latency."
    )
    columns = columns_of(lines)
    held = markup.columns(columns, [""] * len(columns[0].cells), "What the networks cost")
    return f"{held}\n{markup.paragraph(about, 'soft')}"


def columns_of(lines: dict[str, Costs]) -> list[Column]:
    """The table as text, a column for each network; what nobody knows is left out."""
    costs = list(lines.values())
    rows: list[tuple[str, list[str]]] = [("network", [each.network for each in costs])]
    for heading, values, unit in (
        ("parameters", [each.parameters for each in costs], ""),
        ("multiply-adds an image", [each.macs for each in costs], ""),
        ("file", [each.bytes for each in costs], "B"),
    ):
        if any(value is not None for value in values):
            rows.append((heading, [_amount(value, unit) for value in values]))
    places = dict.fromkeys((each.device, each.batch) for one in costs for each in one.timings)
    for device, batch in places:
        cells = [_time(each.timings, device, batch) for each in costs]
        rows.append((f"ms (p90), batch of {batch}, {device}", cells))
    heads = Column("", tuple(heading for heading, _ in rows), left=True)
    held = zip(lines, zip(*(cells for _, cells in rows), strict=True), strict=True)
    return [heads, *(Column(name, tuple(cells)) for name, cells in held)]


def _amount(value: int | None, unit: str) -> str:
    if value is None:
        return ""
    text = short(value)
    return f"{text}{unit}" if " " in text or not unit else f"{text} {unit}"


def _time(timings: Sequence[Timing], device: str, batch: int) -> str:
    found = [each for each in timings if (each.device, each.batch) == (device, batch)]
    if not found:
        return ""
    return f"{number(found[0].median, 2)} ({number(found[0].p90, 2)})"


def _lines(runs: Runs) -> dict[str, Costs]:
    """What is known: measured, or else from records and the files beside them."""
    lines: dict[str, Costs] = {}
    for path, record in runs:
        own = TEACHER if record.label == TEACHER else STUDENT
        measured = Measured.load(path)
        for name, costs in (measured.networks if measured else {}).items():
            # a teacher is the student of its own run
            lines.setdefault(own if name == STUDENT else name, costs)
    for path, record in runs:
        own = TEACHER if record.label == TEACHER else STUDENT
        if own not in lines or lines[own].macs is None:
            lines[own] = _of_record(path, record)
        if record.teacher is not None and TEACHER not in lines:
            lines[TEACHER] = Costs(
                network=record.teacher.name, parameters=record.teacher.parameters
            )
    order = sorted(lines, key=lambda name: (name != TEACHER, name != STUDENT, name))
    return {name: lines[name] for name in order}


def _of_record(path: Path, record: Record) -> Costs:
    weights = path / "student.safetensors"
    return Costs(
        network=record.recipe.student,
        parameters=record.parameters,
        macs=record.macs,
        bytes=weights.stat().st_size if weights.exists() else None,
    )
