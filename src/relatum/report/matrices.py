"""Relation matrices: who is like whom, by the teacher and by each student, for the same images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from relatum.record import Record
from relatum.report.canvas import Picture, clipped, drawing, picture
from relatum.report.table import Summary
from relatum.report.words import number

NAME = "relations.safetensors"
SIDE = 2.9
"""Inches."""
MOST_CLASSES = 15
"""Beyond these, lines between classes would hide the matrix."""
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Relations:
    """Cosines between the embeddings of the same images, sorted by class.

    Attributes:
        title: whose they are.
        student: N x N.
        teacher: the teacher's, or ``None`` where there was none.
        indices: which images, N.
        labels: their classes, N, or ``None``.
    """

    title: str
    student: Matrix
    teacher: Matrix | None
    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of the matrices.

    Attributes:
        networks: for each its matrix and, unless it is the teacher, the difference to the
            teacher's.
        scales: what the colours mean.
        notes: what was left out, and why.
        images: how many images a matrix relates.
        labelled: whether their classes are known, which they are then sorted by.
    """

    networks: tuple[tuple[str, tuple[Picture, ...]], ...]
    scales: tuple[Picture, ...]
    notes: tuple[str, ...]
    images: int
    labelled: bool


def gallery(summary: Summary, runs: Iterable[tuple[Path, Record]]) -> Gallery | None:
    """Draw the matrices of the lowest seed of every line; ``None`` where no run has any.

    All matrices have one colour scale, all differences another that is symmetrical about zero.
    Those of other images than the first are left out: they cannot be compared.
    """
    found, notes = list[Relations](), list[str]()
    for title, path in _lowest_seeds(summary, runs):
        if not path.exists():
            continue
        relations = read(path, title)
        if relations is None:
            notes.append(f"{title}: {NAME} could not be read.")
        elif found and not np.array_equal(relations.indices, found[0].indices):
            notes.append(f"{title}: its matrix is of other images, and is left out.")
        else:
            found.append(relations)
    if not found:
        return None
    teacher = _teacher(summary, found)
    marks = _marks(found[0].labels, classes_of(summary))
    students = [each for each in found if each.title not in _teachers(summary)]
    notes += _of_other_teachers(students, teacher)
    networks, scales = _drawn(students, teacher, marks)
    first = found[0]
    return Gallery(networks, scales, tuple(notes), len(first.indices), first.labels is not None)


def _lowest_seeds(summary: Summary, runs: Iterable[tuple[Path, Record]]) -> list[tuple[str, Path]]:
    folders = {id(record): folder for folder, record in runs}
    lowest = [(line.title, min(line.runs, key=_seed)) for line in summary.lines if line.runs]
    return [(title, folders[id(run)] / NAME) for title, run in lowest if id(run) in folders]


def _seed(run: Record) -> tuple[int, int]:
    return run.recipe.seed, run.recipe.split_seed


def read(path: Path, title: str = "") -> Relations | None:
    """Read a run's matrices; ``None`` where the file is damaged or holds something else."""
    try:
        held = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
    student, teacher = held.get("student"), held.get("teacher")
    indices, labels = held.get("indices"), held.get("labels")
    if student is None or indices is None or indices.ndim != 1 or not len(indices):
        return None
    square = (len(indices), len(indices))
    matrices = [each for each in (student, teacher) if each is not None]
    if any(each.shape != square or not np.isfinite(each).all() for each in matrices):
        return None
    if labels is not None and labels.shape != indices.shape:
        labels = None
    return Relations(title, student, teacher, indices, labels)


def _teachers(summary: Summary) -> set[str]:
    return {line.title for line in summary.lines if line.kind == "teacher"}


def _teacher(summary: Summary, found: Sequence[Relations]) -> Matrix | None:
    """The teacher's matrix: as its students saw it or, failing that, from its own run."""
    seen = [each.teacher for each in found if each.teacher is not None]
    own = [each.student for each in found if each.title in _teachers(summary)]
    return next(iter([*seen, *own]), None)


def _of_other_teachers(students: Sequence[Relations], teacher: Matrix | None) -> list[str]:
    return [
        f"{each.title} had another teacher than the one shown; its difference is to its own."
        for each in students
        if teacher is not None
        and each.teacher is not None
        and not np.allclose(each.teacher, teacher, atol=1e-3)
    ]


def classes_of(summary: Summary) -> tuple[str, ...]:
    """What the classes are called; empty without labels."""
    runs = [run for line in summary.lines for run in line.runs]
    return next((run.classes for run in runs if run.classes), ())


@dataclass(frozen=True, slots=True)
class _Colours:
    """A map of colours, what its ends stand for, and a colour to be seen on it."""

    name: str
    low: float
    high: float
    lines: str


@dataclass(frozen=True, slots=True)
class _Marks:
    """Where classes begin and end, and what they are called."""

    bounds: tuple[float, ...] = ()
    middles: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


def _marks(labels: NDArray[np.int64] | None, classes: Sequence[str]) -> _Marks:
    if labels is None:
        return _Marks()
    starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
    if len(starts) > MOST_CLASSES:
        return _Marks()
    ends = [*starts[1:], len(labels)]
    numbers = [int(labels[start]) for start in starts]
    return _Marks(
        bounds=tuple(start - 0.5 for start in starts[1:]),
        middles=tuple((start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)),
        names=names_of(numbers, classes),
    )


def names_of(numbers: Iterable[int], classes: Sequence[str]) -> tuple[str, ...]:
    """What classes are called in a picture: by their numbers where they have no names."""
    return tuple(
        clipped(classes[each], 10) if 0 <= each < len(classes) else str(each) for each in numbers
    )


def _drawn(
    students: Sequence[Relations], teacher: Matrix | None, marks: _Marks
) -> tuple[tuple[tuple[str, tuple[Picture, ...]], ...], tuple[Picture, ...]]:
    matrices = [each.student for each in students] + ([] if teacher is None else [teacher])
    low = min(float(each.min()) for each in matrices)
    colours = _Colours("viridis", low, max(1.0, low + 1e-6), "white")
    differences = {
        each.title: each.student - own
        for each in students
        if (own := teacher if each.teacher is None else each.teacher) is not None
    }
    most = max([1e-6, *(float(np.abs(each).max()) for each in differences.values())])
    diverging = _Colours("RdBu_r", -most, most, "#8c959f")
    networks = list[tuple[str, tuple[Picture, ...]]]()
    if teacher is not None:
        networks.append(("teacher", (_matrix(teacher, colours, marks, "teacher"),)))
    for each in students:
        pictures = [_matrix(each.student, colours, marks, each.title)]
        if each.title in differences:
            pictures.append(_difference(differences[each.title], diverging, marks, each.title))
        networks.append((each.title, tuple(pictures)))
    scales = [_scale(colours, "cosine")]
    if differences:
        scales.append(_scale(diverging, "student's cosine less the teacher's"))
    return tuple(networks), tuple(scales)


def _matrix(matrix: Matrix, colours: _Colours, marks: _Marks, title: str) -> Picture:
    mean = number(float(_off_diagonal(matrix).mean()), 2)
    alt = (
        f"Relation matrix of {title}: {len(matrix)} by {len(matrix)} cosines, from"
        f" {number(float(matrix.min()), 2)} to {number(float(matrix.max()), 2)}, mean {mean}"
        " between different images."
    )
    return _square(matrix, colours, marks, alt, f"mean cosine {mean}")


def _difference(matrix: Matrix, colours: _Colours, marks: _Marks, title: str) -> Picture:
    size = number(float(np.abs(_off_diagonal(matrix)).mean()), 3)
    caption = f"less the teacher's, mean |Δ| {size}"
    alt = f"Relation matrix of {title}, less the teacher's: differences of {size} in the mean."
    return _square(matrix, colours, marks, alt, caption)


def _off_diagonal(matrix: Matrix) -> Matrix:
    if len(matrix) == 1:
        return matrix
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _square(matrix: Matrix, colours: _Colours, marks: _Marks, alt: str, caption: str) -> Picture:
    with drawing():
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(
            matrix, colours.name, vmin=colours.low, vmax=colours.high, interpolation="nearest"
        )
        axes.grid(visible=False)
        _mark(axes, marks, colours.lines)
        return picture(figure, alt, caption, vector=False)


def _mark(axes: Axes, marks: _Marks, colour: str) -> None:
    for bound in marks.bounds:
        axes.axhline(bound, color=colour, linewidth=0.7)
        axes.axvline(bound, color=colour, linewidth=0.7)
    name_sides(axes, marks.middles, marks.names)


def name_sides(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Write names along both sides of a square."""
    long = any(len(each) > 2 for each in names)
    axes.set_xticks(places, names, fontsize=7, rotation=90 if long else 0)
    axes.set_yticks(places, names, fontsize=7)


def _scale(colours: _Colours, title: str) -> Picture:
    with drawing():
        figure = Figure(figsize=(SIDE, 0.62), layout="constrained")
        values = ScalarMappable(Normalize(colours.low, colours.high), colours.name)
        bar = figure.colorbar(values, cax=figure.add_subplot(), orientation="horizontal")
        bar.outline.set_visible(False)
        bar.ax.set_title(title, fontsize=8.5, loc="left")
        bar.ax.tick_params(labelsize=7.5)
        low, high = colours.low, colours.high
        return picture(figure, f"Colours: {title}, from {low:.2g} to {high:.2g}.", vector=False)
