"""One fair table from many runs: means over seeds with their spread, the baseline beside them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from relatum.record import Record
from relatum.report.rows import Line, lines_of
from relatum.report.words import NOTHING, between, number, short, signed
from relatum.types import Fault

SHARED = ("dataset", "epochs", "batch_size")
"""What all students of one table have in common."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Something measured on the test images.

    Attributes:
        name: its key in a record.
        title: what tables call it.
        percent: whether it is a percentage; else it lies between 0 and 1.
        higher: whether more of it is better.
    """

    name: str
    title: str
    percent: bool = True
    higher: bool = True

    @property
    def heading(self) -> str:
        """The title with its unit, and an arrow where less is better."""
        return f"{self.title}{' %' if self.percent else ''}{'' if self.higher else ' ↓'}"

    @property
    def digits(self) -> int:
        """Decimals of a mean."""
        return 2 if self.percent else 3


TOP1, PROBE, KNN = Metric("top1", "top-1"), Metric("probe", "probe"), Metric("knn", "kNN")
AGREEMENT = Metric("agreement", "agreement")
GAP = Metric("gap_cosine", "relation gap", percent=False, higher=False)
CKA, KEPT = Metric("cka", "CKA", percent=False), Metric("kept", "kept")
METRICS = (TOP1, PROBE, KNN, AGREEMENT, GAP, CKA, KEPT)
"""The columns, in order."""
BRIEF = (GAP, KEPT)
"""What a terminal shows of them, beside the primary one."""
PRIMARY = (TOP1, PROBE, KNN, AGREEMENT, CKA, GAP)
"""What networks are compared by: the first that all of them have."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table as text.

    Attributes:
        heading: its name.
        cells: one for each line, empty where nothing was measured.
        left: whether it holds words.
        compared: whether it holds the differences to the student alone.
    """

    heading: str
    cells: tuple[str, ...]
    left: bool = False
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """The runs of one setting, a line for each label.

    Attributes:
        lines: the teacher, the student alone, then the methods as they first appear.
        primary: what they are compared by, if anything was measured.
        shared: dataset, epochs and batch size of every student.
        test_images: on how many everything was measured.
    """

    lines: tuple[Line, ...]
    primary: Metric | None
    shared: Mapping[str, str | int]
    test_images: int

    @property
    def teacher(self) -> Line | None:
        """The first teacher's line."""
        return next((line for line in self.lines if line.kind == "teacher"), None)

    @property
    def alone(self) -> Line | None:
        """The line of the student that had no teacher."""
        return next((line for line in self.lines if line.kind == "alone"), None)

    @property
    def methods(self) -> tuple[Line, ...]:
        """The lines of students that were taught."""
        return tuple(line for line in self.lines if line.kind == "method")

    @property
    def students(self) -> tuple[Line, ...]:
        """All lines but the teacher's."""
        return tuple(line for line in self.lines if line.kind != "teacher")

    def value(self, line: Line, metric: Metric, *, brief: bool = False) -> str:
        """One cell: ``97.80 ± 0.31``, without the spread for a single run or when brief."""
        if metric.name not in line.metrics:
            return ""
        spread = line.metrics[metric.name]
        text = number(spread.mean, metric.digits)
        if spread.std is not None and not brief:
            text += f" ± {number(spread.std, metric.digits)}"
        return text if spread.n == line.n else f"{text} (n = {spread.n})"

    def columns(self, *, brief: bool = False) -> list[Column]:
        """The table; a column that is empty for all students is left out.

        Args:
            brief: for 80 characters: sizes rounded, a spread only with the primary metric, no
                other metric of the same kind, and no n where it is one for all students.
        """
        lines, students = self.lines, self.students or self.lines
        sizes = [short(line.parameters) if brief else f"{line.parameters:,}" for line in lines]
        columns = [
            Column("method", tuple(f"{line.title}{line.mark}" for line in lines), left=True),
            Column("size" if brief else "parameters", tuple(sizes)),
        ]
        for metric in METRICS:
            first = metric == self.primary
            if not any(metric.name in line.metrics for line in students):
                continue
            if brief and not first and metric not in BRIEF:
                continue
            cells = tuple(self.value(line, metric, brief=brief and not first) for line in lines)
            columns.append(Column(metric.heading, cells))
            if first and any(line.difference for line in lines):
                cells = tuple(map(self._difference, lines))
                columns.append(Column("Δ to alone", cells, compared=True))
        if not brief or len({line.n for line in students}) > 1:
            columns.append(Column("n", tuple(str(line.n) for line in lines)))
        return columns

    def _difference(self, line: Line) -> str:
        if line.difference is None or self.primary is None:
            return ""
        found, digits = line.difference, self.primary.digits
        mean = signed(found.mean, digits)
        if found.interval is None:
            return mean
        return f"{mean} [{between(found.interval, digits)}]"

    def notes(self) -> list[str]:
        """What has to be said under the table."""
        seeds = [line.n for line in self.students] or [line.n for line in self.lines]
        span = str(seeds[0]) if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)}"
        notes = [
            f"Last epoch; mean ± standard deviation over n = {span} seed{'s' * (span != '1')};"
            f" nothing was chosen by the {f'{self.test_images:,} ' if self.test_images else ''}test"
            " images."
        ]
        if min(seeds) == 1:
            notes.append("One seed is no evidence: where n = 1, another may turn the order round.")
        found = [line.difference for line in self.lines if line.difference is not None]
        if any(each.interval for each in found):
            how = {each.paired for each in found if each.interval}
            kind = {True: "paired by seed", False: "Welch's, unpaired"}
            notes.append(
                "Δ to alone: mean difference [95 % interval, Student's t,"
                f" {' or '.join(kind[each] for each in sorted(how, reverse=True))}]"
                f" {'of ' + self.primary.title if self.primary else ''}. It speaks of other"
                " seeds, not of other images"
                + ("; it is not corrected for the number of methods." if len(found) > 1 else ".")
            )
        notes.extend(
            f"{line.mark.strip()} {line.title} made {line.steps} updates; the others"
            f" {self._usual_steps()}."
            for line in self.lines
            if line.mark
        )
        return notes

    def _usual_steps(self) -> str:
        return next((line.steps for line in self.students if not line.mark), "another number")

    def markdown(self) -> str:
        """The table as GitHub's Markdown, and what has to be said under it."""
        columns = self.columns()
        rows = zip(*(column.cells for column in columns), strict=True)
        table = [
            [column.heading for column in columns],
            [":--" if column.left else "--:" for column in columns],
            *([_markdown(cell) or NOTHING for cell in row] for row in rows),
        ]
        text = "\n".join(f"| {' | '.join(row)} |" for row in table)
        return text + "\n\n" + "\n".join(_markdown(note) + "  " for note in self.notes()) + "\n"

    def rich(self) -> Table:
        """The table for a terminal: what matters most of it, in 80 characters."""
        caption = Text("\n".join(self.notes()))
        table = Table(
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            caption=caption,
            caption_justify="left",
            caption_style="dim",
        )
        columns = self.columns(brief=True)
        for column in columns:
            justify: Literal["left", "right"] = "left" if column.left else "right"
            words = [column.heading, *column.cells] if column.left else [column.heading]
            table.add_column(
                Text(column.heading),
                justify=justify,
                no_wrap=not column.left and any(" " in cell for cell in column.cells),
                min_width=max(len(word) for each in words for word in each.split()),
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*(Text(cell or NOTHING) for cell in row))
        return table


def summarise(records: Sequence[Record]) -> Summary:
    """Put the runs of one setting into one table.

    Runs of one label are one line: the mean of their metrics and the sample standard deviation
    (n - 1). What is compared by, the primary metric, is the first of top-1, probe, kNN,
    agreement, CKA and relation gap that every student has. The difference of its mean to the
    student alone (label ``none``) comes with a 95 % interval of Student's t: paired where both
    have the same seeds, else Welch's; see ``relatum.report.spread.difference``.

    A teacher may have been trained in any way. Where there is no run of it on these images, it
    is what the students' runs wrote down of it.

    Raises:
        Fault: there is nothing; students differ in dataset, epochs, batch size or test images;
            or the runs of one label differ in more than their seed.
    """
    if not records:
        raise Fault("a table needs one run at least, got none")
    students = [record for record in records if record.label != "teacher"] or list(records)
    for record in students[1:]:
        _check(students[0], record)
    first = students[0]
    metric = _primary(students)
    return Summary(
        lines=lines_of(records, metric.name if metric else None),
        primary=metric,
        shared={name: getattr(first.recipe, name) for name in SHARED},
        test_images=first.samples.get("test", 0),
    )


def _check(one: Record, other: Record) -> None:
    here = {name: getattr(one.recipe, name) for name in SHARED}
    there = {name: getattr(other.recipe, name) for name in SHARED}
    here["test images"], there["test images"] = (
        one.samples.get("test", 0),
        other.samples.get("test", 0),
    )
    untrained = 0 in (one.recipe.epochs, other.recipe.epochs)  # a reference, not a competitor
    for name, value in here.items():
        if there[name] != value and not (name == "epochs" and untrained):
            raise Fault(
                f"a table compares runs of one setting: {name} is {value!r} for {one.label!r}"
                f" and {there[name]!r} for {other.label!r}; keep them in folders of their own"
            )


def _primary(students: Iterable[Record]) -> Metric | None:
    held = [record.metrics.keys() for record in students]
    for wanted in (all, any):
        for metric in PRIMARY:
            if wanted(metric.name in names for names in held):
                return metric
    return None


def _markdown(text: str) -> str:
    for special in "\\|*_`<>[]":
        text = text.replace(special, f"\\{special}")
    return text.replace("\n", " ")
