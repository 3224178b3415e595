"""RRD against the recorded tables: both orders, both pairs of temperatures, both queues."""

import pytest
import torch
import torch.nn.functional as F

from relatum.losses import RRD
from tests.losses.numbers import wave

SOFT_STUDENT, SHARP_STUDENT = (0.10, 0.02), (0.04, 0.10)
"""Temperatures of the student and the teacher: those of 2025 and those of 2024."""

UNIT_COLUMNS = {
    ("before", SOFT_STUDENT): [
        1.2780557, 3.08749461, 4.56122351, 2.53347103, 3.39540319, 4.69353686
    ],
    ("before", SHARP_STUDENT): [
        2.39241675, 6.11755314, 9.48594544, 4.88500575, 7.48601697, 9.22277614
    ],
    ("after", SHARP_STUDENT): [
        5.89035658, 5.82336339, 3.61888172, 3.6643213, 7.5105571, 8.24913396
    ],
    ("after", SOFT_STUDENT): [
        2.82337253, 2.41148129, 1.33052439, 2.03248134, 3.62456437, 3.812046
    ],
}  # fmt: skip
UNIT_ROWS = {
    ("before", SOFT_STUDENT): [
        2.98592483, 3.20477463, 4.56813439, 2.53347103, 3.39540319, 4.69353686
    ],
    ("before", SHARP_STUDENT): [
        7.249596, 5.43251067, 9.80960542, 4.88500575, 7.48601697, 9.22277614
    ],
    ("after", SHARP_STUDENT): [
        6.70586747, 7.73078312, 7.73751489, 3.66328847, 7.5105571, 8.24913396
    ],
    ("after", SOFT_STUDENT): [
        1.65919716, 3.08375204, 3.55333175, 2.04072455, 3.62456437, 3.812046
    ],
}  # fmt: skip
WRAPPED = {
    ("before", SOFT_STUDENT): [
        3.3607054, 3.37892566, 6.54385969, 3.05553094, 3.13268799, 6.3821044
    ],
    ("after", SHARP_STUDENT): [
        9.77119172, 9.03322244, 16.55842004, 10.63941137, 8.01467742, 13.14029149
    ],
}  # fmt: skip
Setting = tuple[str, tuple[float, float]]


def build(setting: Setting, axis: int) -> RRD:
    """The recorded heads, and a queue of which the rows (1) or columns (0) are unit vectors."""
    enqueue, (student_temperature, teacher_temperature) = setting
    loss = RRD(
        student_dim=6,
        teacher_dim=5,
        dim=4,
        queue_size=8,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
        enqueue=enqueue,  # type: ignore[arg-type]
    ).double()
    loss.load_state_dict(
        {
            "student_head.weight": wave((4, 6), 0.3),
            "student_head.bias": 0.1 * wave((4,), 1.3),
            "teacher_head.weight": wave((4, 5), 0.9),
            "teacher_head.bias": 0.1 * wave((4,), 1.9),
            "queue": F.normalize(wave((8, 4), 2.0), dim=axis),
            "pointer": torch.tensor(0),
        }
    )
    return loss


def run(loss: RRD, batch: int) -> tuple[list[float], list[int]]:
    values, pointers = [], []
    for step in range(6):
        values.append(loss(wave((batch, 6), step), wave((batch, 5), step + 0.5)).item())
        pointers.append(int(loss.pointer))
    return values, pointers


@pytest.mark.parametrize("setting", UNIT_COLUMNS, ids=str)
def test_queue_of_unit_columns(setting: Setting) -> None:
    values, pointers = run(build(setting, axis=0), batch=2)
    assert values == pytest.approx(UNIT_COLUMNS[setting], abs=6e-9)
    assert pointers == [2, 4, 6, 0, 2, 4]


@pytest.mark.parametrize("setting", UNIT_ROWS, ids=str)
def test_queue_of_unit_rows(setting: Setting) -> None:
    values, _ = run(build(setting, axis=1), batch=2)
    assert values == pytest.approx(UNIT_ROWS[setting], abs=6e-9)


@pytest.mark.parametrize("setting", WRAPPED, ids=str)
def test_batch_that_does_not_divide_the_queue(setting: Setting) -> None:
    values, pointers = run(build(setting, axis=1), batch=3)
    assert values == pytest.approx(WRAPPED[setting], abs=6e-9)
    assert pointers == [3, 6, 1, 4, 7, 2]
