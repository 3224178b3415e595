"""The lines of a table: which runs are one thing measured several times, and which are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from relatum.record import Record, TeacherRecord
from relatum.report.spread import Difference, Spread, difference
from relatum.types import Fault

TEACHER, ALONE = "teacher", "none"
"""The labels that mean more than a name."""
SEEDS = ("seed", "split_seed", "data_root", "teacher", "begin")
"""In these the runs of one line may differ: each may have had a teacher, or weights to begin
with, of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a network as several seeds gave it.

    Attributes:
        label: what its records call it.
        title: what readers call it.
        kind: whether it is a teacher, the student alone, or a student that was taught.
        network: the model's name.
        parameters: how many it has.
        metrics: what was measured, by name.
        runs: the runs behind it; empty for a teacher that is only known from its students.
        difference: of the primary metric, to the student alone.
        mark: ``" †"`` where it made another number of updates than the student alone.
    """

    label: str
    title: str
    kind: Literal["teacher", "alone", "method"]
    network: str
    parameters: int
    metrics: Mapping[str, Spread]
    runs: tuple[Record, ...] = ()
    difference: Difference | None = None
    mark: str = ""

    @property
    def n(self) -> int:
        """How many runs it is the mean of."""
        return max([1, len(self.runs), *(spread.n for spread in self.metrics.values())])

    @property
    def steps(self) -> str:
        """How many updates its runs made: one number, or from which to which."""
        steps = sorted({run.steps for run in self.runs})
        return " to ".join(f"{each:,}" for each in (steps[:1] + steps[-1:] if steps[1:] else steps))


def lines_of(records: Sequence[Record], metric: str | None) -> tuple[Line, ...]:
    """The lines of a table: teachers, the student alone, methods as they first appear.

    Args:
        records: runs that may stand in one table.
        metric: the name of what is compared with the student alone.

    Raises:
        Fault: the runs of one label differ in more than their seed, or are there twice.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.label != TEACHER:
            groups.setdefault(record.label, []).append(record)
    lines = [_line(label, runs) for label, runs in groups.items()]
    lines.sort(key=lambda line: line.kind != "alone")
    alone = next((line for line in lines if line.kind == "alone"), None)
    if lines:
        usual = (alone or lines[0]).steps
        lines = [replace(line, mark="" if line.steps == usual else " †") for line in lines]
    if alone is not None and metric is not None:
        lines = [_compared(line, alone, metric) for line in lines]
    return (*_teachers(records), *lines)


def _line(label: str, runs: Sequence[Record]) -> Line:
    _one_thing(label, runs)
    return Line(
        label=label,
        title="student alone" if label == ALONE else label,
        kind="alone" if label == ALONE else "method",
        network=runs[0].recipe.student,
        parameters=runs[0].parameters,
        metrics=_spreads([run.metrics for run in runs]),
        runs=tuple(runs),
    )


def _one_thing(label: str, runs: Sequence[Record]) -> None:
    """Refuse to call different things by one name, or to count one run twice."""
    first, seen = _what(runs[0]), set[tuple[object, ...]]()
    for run in runs:
        for name, value in _what(run).items():
            if value != first[name]:
                raise Fault(
                    f"runs labelled {label!r} differ in more than the seed: {name} is"
                    f" {first[name]!r} and {value!r}; give them labels of their own"
                )
        key = (*_seed(run), run.teacher.weights_sha256 if run.teacher else None)
        if key in seen:
            raise Fault(
                f"{label!r} is there twice with seed {run.recipe.seed}: one run counted twice is"
                " no evidence, so leave one out"
            )
        seen.add(key)


def _what(run: Record) -> dict[str, Any]:
    fields = {k: v for k, v in run.recipe.model_dump().items() if k not in SEEDS}
    # Not its name: that may hold the folder of a teacher that was trained for this seed.
    return {**fields, "the teacher's size": run.teacher.parameters if run.teacher else None}


def _seed(run: Record) -> tuple[int, int]:
    return run.recipe.seed, run.recipe.split_seed


def _spreads(runs: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = dict.fromkeys(name for metrics in runs for name in metrics)
    return {name: Spread.of([each[name] for each in runs if name in each]) for name in names}


def _compared(line: Line, alone: Line, metric: str) -> Line:
    """The line with its difference to the student alone, where it is of the same network."""
    if line is alone or line.network != alone.network or line.kind == "alone":
        return line
    one, other = _by_seed(line, metric), _by_seed(alone, metric)
    return replace(line, difference=difference(one, other)) if one and other else line


def _by_seed(line: Line, metric: str) -> dict[object, float]:
    """A number for each seed; where teachers differ and seeds repeat, for each run instead."""
    runs = [run for run in line.runs if metric in run.metrics]
    keys: list[object] = [_seed(run) for run in runs]
    if len(set(keys)) < len(keys):
        keys = [(line.label, *key) for key in enumerate(keys)]
    return {key: run.metrics[metric] for key, run in zip(keys, runs, strict=True)}


def _teachers(records: Sequence[Record]) -> list[Line]:
    """A line for every network that taught: from its own runs, or from what students noted."""
    students = [record for record in records if record.label != TEACHER]
    datasets = {record.recipe.dataset for record in students}
    runs = [
        record
        for record in records
        if record.label == TEACHER and (not datasets or record.recipe.dataset in datasets)
    ]
    if runs:
        return _taught_here(runs)
    noted = {run.teacher.weights_sha256: run.teacher for run in students if run.teacher}
    groups: dict[tuple[int, str], list[TeacherRecord]] = {}
    for each in noted.values():  # networks of one size are seeds of one; tables are what they are
        groups.setdefault((each.parameters, "" if each.parameters else each.name), []).append(each)
    return [
        Line(
            label=TEACHER,
            title=_teacher_title(group[0].name, len(groups)),
            kind="teacher",
            network=group[0].name,
            parameters=parameters,
            metrics=_spreads([each.metrics for each in group]),
        )
        for (parameters, _), group in groups.items()
    ]


def _taught_here(runs: Sequence[Record]) -> list[Line]:
    groups: dict[str, list[Record]] = {}
    for run in runs:
        groups.setdefault(run.recipe.student, []).append(run)
    return [
        replace(
            _line(TEACHER, group),
            title=_teacher_title(name, len(groups)),
            kind="teacher",
        )
        for name, group in groups.items()
    ]


def _teacher_title(name: str, among: int) -> str:
    return TEACHER if among == 1 else f"{TEACHER} {name}"
