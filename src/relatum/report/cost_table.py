"""What student and teacher cost, side by side: size, work, and time where it was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relatum.cost_file import STUDENT, TEACHER, Costs, Measured
from relatum.evaluate.latency import Timing
from relatum.record import WEIGHTS, Record, TeacherRecord
from relatum.report import markup
from relatum.report.columns import Column, Shown
from relatum.report.columns import terminal as shown
from relatum.report.provenance import Runs
from relatum.report.words import number, short, weight
from relatum.types import Fault
from relatum.weights import known_fingerprints

NOT_TIMED = (
    "No times yet: relatum report FOLDER --latency times these networks on the machine it runs on,"
    " and relatum export RUN --to onnx --latency an exported file beside them."
)


def cost_table(runs: Runs) -> str:
    """A table of the networks of some runs, a line for each; nothing without a student."""
    lines = lines_of_costs(runs)
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
        else NOT_TIMED
    )
    columns = columns_of(lines)
    held = markup.columns(columns, [""] * len(columns[0].cells), "What the networks cost")
    return f"{held}\n{markup.paragraph(about, 'soft')}"


def terminal(lines: dict[str, Costs], notes: Sequence[str] = ()) -> Shown:
    """The table for a terminal: names of networks, which may be long, stand below the numbers."""
    names = dict[str, list[str]]()
    for part, costs in lines.items():
        names.setdefault(costs.network, []).append(part)
    told = [f"{', '.join(parts)}: {network}" for network, parts in names.items()]
    numbers = [replace(each, cells=each.cells[1:]) for each in columns_of(lines)]
    return shown(numbers, [*told, *notes])


@dataclass(frozen=True, slots=True)
class _Row:
    """One kind of cost: its numbers, one for each network or ``None``, and how they are shown."""

    heading: str
    values: tuple[float | None, ...]
    texts: tuple[str, ...]


def columns_of(lines: dict[str, Costs]) -> list[Column]:
    """The table as text, a column for each network; what nobody knows is left out.

    Where there are a teacher and a student, a last column says how many times less the latter
    costs.
    """
    rows = [row for row in _rows(list(lines.values())) if set(row.values) != {None}]
    heads = Column("", ("network", *(row.heading for row in rows)), left=True)
    held = [
        Column(name, (costs.network, *(row.texts[at] for row in rows)))
        for at, (name, costs) in enumerate(lines.items())
    ]
    if not {TEACHER, STUDENT} <= set(lines):
        return [heads, *held]
    pair = [list(lines).index(each) for each in (TEACHER, STUDENT)]
    times = [_times(*(row.values[at] for at in pair)) for row in rows]
    return [heads, *held, *([Column("teacher ÷ student", ("", *times))] if any(times) else [])]


def _rows(costs: Sequence[Costs]) -> Iterator[_Row]:
    for heading, values, spoken in (
        ("parameters", [each.parameters for each in costs], short),
        ("multiply-adds an image", [each.macs for each in costs], short),
        ("file", [each.bytes for each in costs], weight),
    ):
        texts = ("" if value is None else spoken(value) for value in values)
        yield _Row(heading, tuple(values), tuple(texts))
    places = dict.fromkeys((each.device, each.batch) for one in costs for each in one.timings)
    for device, batch in places:
        found = [_timing(each.timings, device, batch) for each in costs]
        yield _Row(
            f"ms (p90), batch of {batch}, {device}",
            tuple(each.median if each else None for each in found),
            tuple(_time(each) for each in found),
        )


def _timing(timings: Sequence[Timing], device: str, batch: int) -> Timing | None:
    return next((each for each in timings if (each.device, each.batch) == (device, batch)), None)


def _time(found: Timing | None) -> str:
    return f"{number(found.median, 2)} ({number(found.p90, 2)})" if found else ""


def _times(teacher: float | None, student: float | None) -> str:
    return number(teacher / student, 1) if teacher and student else ""


def lines_of_costs(runs: Runs) -> dict[str, Costs]:
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
            lines[TEACHER] = _of_teacher(record.teacher, record.recipe.teacher)
    order = sorted(lines, key=lambda name: (name != TEACHER, name != STUDENT, name))
    return {name: lines[name] for name in order}


def _of_record(path: Path, record: Record) -> Costs:
    return Costs(
        network=record.recipe.student,
        parameters=record.parameters,
        macs=record.macs,
        bytes=_bytes(path / WEIGHTS),
    )


def _of_teacher(teacher: TeacherRecord, place: str | None) -> Costs:
    """What a student's record says of its teacher."""
    return Costs(
        network=teacher.name,
        parameters=teacher.parameters or None,
        macs=teacher.macs or None,
        bytes=_taught_by(place, teacher.weights_sha256) if place and teacher.parameters else None,
    )


def _taught_by(place: str, digest: str) -> int | None:
    """Bytes of the file of a teacher, where it is still there and holds what taught.

    Its place may be one of another folder than that in which the report is made.
    """
    try:
        path = Path(place)
        if not path.exists():  # MODEL@FILE; a run's own folder may have an @
            path = Path(place.rpartition("@")[2])
        file = path / WEIGHTS if path.is_dir() else path
        return _bytes(file) if digest in known_fingerprints(file) else None
    except (OSError, Fault):  # several teachers are longer than any name; a file may be damaged
        return None


def _bytes(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None
