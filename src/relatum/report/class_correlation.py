"""How the classes look alike to a student, less how they do to its teacher (CRD, RRD).

For every class the standardised logits of its test images are averaged; the difference of
student and teacher says which other classes the student sees more or less of in a class than
the teacher does. RRD's authors draw its size with the diagonal left out, in blue, up to 3.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from relatum.report.canvas import Picture, drawing, picture
from relatum.report.kept import Kept, Values
from relatum.report.matrices import MOST_CLASSES, name_sides, names_of
from relatum.report.words import number

SIDE = 2.6
"""Inches."""


@dataclass(frozen=True, slots=True)
class Correlations:
    """The differences of all students.

    Attributes:
        networks: for each student its picture.
        rows: for each the largest and the mean difference.
        scale: what the colours mean.
        about: what is drawn, in a sentence.
    """

    networks: tuple[tuple[str, Picture], ...]
    rows: tuple[tuple[str, str, str], ...]
    scale: Picture
    about: str


def correlations(networks: Sequence[Kept], classes: Sequence[str] = ()) -> Correlations | None:
    """Draw every student's difference to the teacher; ``None`` where there is none."""
    teacher = next(
        (each for each in networks if each.who == "teacher" and "classes" in each.values), None
    )
    if teacher is None:
        return None
    theirs = teacher.values["classes"]
    found = {
        each.title: _difference(each.values["classes"], theirs)
        for each in networks
        if each.who == "student" and each.values.get("classes", theirs[:0]).shape == theirs.shape
    }
    if not found:
        return None
    most = max(1e-6, *(float(each.max()) for each in found.values()))
    count = len(theirs)
    about = (
        f"For each of {count} classes the mean standardised logits of its test images, of the"
        " student less those of the teacher, in size; the diagonal is left out. All pictures have"
        f" one scale, up to {number(most, 2)} (the papers' figure goes to 3.0). Less is better."
    )
    names = names_of(range(count), classes) if count <= MOST_CLASSES else ()
    drawn = tuple((title, _square(each, most, title, names)) for title, each in found.items())
    rows = tuple(
        (title, number(float(each.max()), 3), number(_mean(each), 4))
        for title, each in found.items()
    )
    return Correlations(drawn, rows, _scale(most), about)


def _difference(student: Values, teacher: Values) -> Values:
    difference: Values = np.abs(student - teacher)
    np.fill_diagonal(difference, 0.0)
    return difference


def _mean(matrix: Values) -> float:
    """Of two different classes, of which there are C (C - 1) pairs."""
    return float(matrix.sum()) / (len(matrix) * (len(matrix) - 1))


def _square(matrix: Values, most: float, title: str, names: Sequence[str]) -> Picture:
    with drawing():
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(matrix, "Blues", vmin=0.0, vmax=most, interpolation="nearest")
        axes.grid(visible=False)
        name_sides(axes, range(len(names)), names)
        size = f"mean {number(_mean(matrix), 3)}, most {number(float(matrix.max()), 2)}"
        alt = f"Class correlations of {title}, how far from the teacher's: {size}."
        return picture(figure, alt, size, vector=False)


def _scale(most: float) -> Picture:
    with drawing():
        figure = Figure(figsize=(SIDE, 0.62), layout="constrained")
        values = ScalarMappable(Normalize(0.0, most), "Blues")
        bar = figure.colorbar(values, cax=figure.add_subplot(), orientation="horizontal")
        bar.outline.set_visible(False)
        bar.ax.set_title("size of student less teacher", fontsize=8.5, loc="left")
        bar.ax.tick_params(labelsize=7.5)
        return picture(figure, f"Colours: from 0 to {most:.2g}.", vector=False)
