"""One fair table from many runs: means over seeds with their spread, the baseline beside them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relatum.evaluate import MUCH, by_chance
from relatum.record import Record
from relatum.report.columns import Column, Shown, markdown, markdown_text, terminal
from relatum.report.rows import ALONE, Line, lines_of
from relatum.report.teachers import size
from relatum.report.words import between, number, signed
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
MAP, RECALL = Metric("map", "mAP"), Metric("recall_1", "R@1")
AGREEMENT, NEIGHBOURS = Metric("agreement", "agreement"), Metric("neighbours", "neighbours")
GAP = Metric("gap_cosine", "relation gap", percent=False, higher=False)
CKA, KEPT = Metric("cka", "CKA", percent=False), Metric("kept", "kept")
METRICS = (TOP1, PROBE, KNN, MAP, RECALL, AGREEMENT, NEIGHBOURS, GAP, CKA, KEPT)
"""The columns, in order."""
BRIEF = (GAP, KEPT)
"""What a terminal shows of them, beside the primary one."""
PRIMARY = (TOP1, PROBE, KNN, MAP, AGREEMENT, NEIGHBOURS, CKA, GAP)
"""What networks are compared by: the first that all of them have."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The runs of one setting, a line for each label.

    Attributes:
        lines: the teacher, the student alone, then the methods as they first appear.
        primary: what they are compared by, if anything was measured.
        shared: dataset, epochs and batch size of every student.
        test_images: on how many everything was measured.
        baseline: the label of the line that the others are compared with.
    """

    lines: tuple[Line, ...]
    primary: Metric | None
    shared: Mapping[str, str | int]
    test_images: int
    baseline: str = ALONE

    @property
    def teacher(self) -> Line | None:
        """The first teacher's line."""
        return next((line for line in self.lines if line.kind == "teacher"), None)

    @property
    def alone(self) -> Line | None:
        """The line of the student that had no teacher."""
        return next((line for line in self.lines if line.kind == "alone"), None)

    @property
    def beside(self) -> str:
        """What the baseline is called in a sentence."""
        return "the student alone" if self.baseline == ALONE else self.baseline

    @property
    def compared(self) -> bool:
        """Whether there is a run of the baseline, so that seeds alone can be lacking."""
        return any(run.label == self.baseline for line in self.lines for run in line.runs)

    @property
    def lacks_baseline(self) -> bool:
        """Whether there is no run of it that there could be: the student alone needs labels."""
        labelled = any(run.labelled for line in self.methods for run in line.runs)
        return not self.compared and (labelled or self.baseline != ALONE)

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
        sizes = [size(line.parameters, brief=brief) for line in lines]
        columns = [
            Column("method", tuple(f"{line.title}{line.mark}" for line in lines), left=True),
            Column("size" if brief else "parameters", tuple(sizes)),
        ]
        for metric in METRICS:
            first = metric == self.primary
            if not self._measured(metric):
                continue
            if brief and not first and metric not in BRIEF:
                continue
            cells = tuple(self.value(line, metric, brief=brief and not first) for line in lines)
            columns.append(Column(metric.heading, cells))
            if first and any(line.difference for line in lines):
                columns.append(self.difference())
        if not brief or len({line.n for line in students}) > 1:
            columns.append(Column("n", tuple(str(line.n) for line in lines)))
        return columns

    def difference(self) -> Column:
        """How far every line lies from the baseline, bold where that is clear."""
        lines = list(enumerate(self.lines))
        return Column(
            f"Δ to {'alone' if self.baseline == ALONE else self.baseline}",
            tuple(self._difference(line) for _, line in lines),
            bold=frozenset(at for at, line in lines if line.difference and line.difference.clear),
        )

    def _difference(self, line: Line) -> str:
        if line.difference is None or self.primary is None:
            return ""
        found, digits = line.difference, self.primary.digits
        mean = signed(found.mean, digits)
        if found.interval is None:
            return mean
        return f"{mean} [{between(found.interval, digits)}]"

    def notes(self, *, brief: bool = False) -> list[str]:
        """What has to be said under the table, with all its columns or those that are brief."""
        seeds = [line.n for line in self.students] or [line.n for line in self.lines]
        span = str(seeds[0]) if len(set(seeds)) == 1 else f"{min(seeds)} to {max(seeds)}"
        spread = f"mean ± standard deviation over n = {span} seeds"
        notes = [
            f"Last epoch; {'one seed' if span == '1' else spread}; nothing was chosen by the"
            f" {f'{self.test_images:,} ' if self.test_images else ''}test images."
        ]
        scales = {run.recipe.scale for line in self.lines for run in line.runs} - {1.0}
        if scales:
            said = " and ".join(f"{each:g}" for each in sorted(scales))
            notes.insert(0, f"At scale {said}, for a first look: not comparable with other tables.")
        if min(seeds) == 1 and len(seeds) > 1:
            where = "" if span == "1" else "where n = 1, "
            notes.append(f"One seed is no evidence: {where}another may turn the order round.")
        notes.extend(self._about_differences())
        still = [each.title for each in self.lines if each.difference and each.difference.still]
        if still:
            notes.append(f"No interval for {', '.join(still)}: Δ does not vary over the seeds.")
        notes.extend(
            f"{line.mark.strip()} {line.title} made {line.steps} updates; the others"
            f" {self._usual_steps()}."
            for line in self.lines
            if line.mark
        )
        shown = self.primary == NEIGHBOURS if brief else self._measured(NEIGHBOURS)
        if shown and self.test_images > 1 and (chance := by_chance(self.test_images)) > MUCH:
            notes.append(f"Neighbours: of so few images {chance:.1f} % are shared by chance.")
        return notes

    def _measured(self, metric: Metric) -> bool:
        return any(metric.name in line.metrics for line in self.students or self.lines)

    def _about_differences(self) -> list[str]:
        found = [line.difference for line in self.lines if line.difference is not None]
        told = [each for each in found if each.interval]
        if not told or self.primary is None:
            return []
        if all(each.p is not None for each in told):
            how = "Dunnett's test, for all methods together"
            last = "."
        else:
            kinds = {True: "paired by seed", False: "Welch's, unpaired"}
            ways = sorted({each.paired for each in told}, reverse=True)
            how = f"Student's t, {' or '.join(kinds[each] for each in ways)}"
            last = "; it is not corrected for the number of methods." if found[1:] else "."
        return [
            f"{self.difference().heading}: mean difference [95 % interval, {how}] of"
            f" {self.primary.title}. It speaks of other seeds, not of other images{last}"
        ]

    def _usual_steps(self) -> str:
        return next((line.steps for line in self.students if not line.mark), "another number")

    def markdown(self) -> str:
        """The table as GitHub's Markdown, and what has to be said under it."""
        under = "\n".join(f"{markdown_text(note)}  " for note in self.notes())
        return f"{markdown(self.columns())}\n\n{under}\n"

    def rich(self) -> Shown:
        """The table for a terminal: what matters most of it, in 80 characters."""
        return terminal(self.columns(brief=True), self.notes(brief=True))


def summarise(records: Sequence[Record], places: Sequence[Path] = ()) -> Summary:
    """Put the runs of one setting into one table.

    Runs of one label are one line: the mean of their metrics and the sample standard deviation
    (n - 1). What is compared by, the primary metric, is the first of top-1, probe, kNN, mAP,
    agreement, neighbours, CKA and relation gap that every student has. The difference of its mean
    to the student alone (label ``none``) comes with a 95 % interval of Student's t: paired where
    both have the same seeds, else Welch's; see ``relatum.report.spread.difference``.

    A teacher may have been trained in any way. Where there is no run of it on these images, it
    is what the students' runs wrote down of it.

    Args:
        records: the runs.
        places: where each of them lies, if a refusal is to say it.

    Raises:
        Fault: there is nothing; students differ in dataset, epochs, batch size or test images;
            or the runs of one label differ in more than their seed.
    """
    if not records:
        raise Fault("a table needs one run at least, got none")
    students = [record for record in records if record.label != "teacher"] or list(records)
    called = {id(run): str(place) for run, place in zip(records, places, strict=False)}
    for record in students[1:]:
        _check(students[0], record, called)
    first = students[0]
    metric = primary_of(students)
    return Summary(
        lines=lines_of(records, metric.name if metric else None),
        primary=metric,
        shared={name: getattr(first.recipe, name) for name in SHARED},
        test_images=first.samples.get("test", 0),
    )


def _check(one: Record, other: Record, called: Mapping[int, str]) -> None:
    here = {name: getattr(one.recipe, name) for name in SHARED}
    there = {name: getattr(other.recipe, name) for name in SHARED}
    here["test images"], there["test images"] = (
        one.samples.get("test", 0),
        other.samples.get("test", 0),
    )
    untrained = 0 in (one.recipe.epochs, other.recipe.epochs)  # a reference, not a competitor
    for name, value in here.items():
        if there[name] != value and not (name == "epochs" and untrained):
            first, second = (called.get(id(each), repr(each.label)) for each in (one, other))
            raise Fault(
                f"a table compares runs of one setting: {name} is {value!r} for {first} and"
                f" {there[name]!r} for {second}; keep them in folders of their own, a page for each"
            )


def primary_of(records: Iterable[Record]) -> Metric | None:
    """What runs are compared by: the first metric that all have, or else that any has."""
    held = [record.metrics.keys() for record in records]
    for wanted in (all, any):
        for metric in PRIMARY:
            if wanted(metric.name in names for names in held):
                return metric
    return None
