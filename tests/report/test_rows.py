from collections.abc import Callable
from typing import Any

import pytest

from relatum.record import Record, Row, TeacherRecord
from relatum.report.rows import lines_of
from relatum.types import Fault

Make = Callable[..., Record]


def test_order_and_titles(make: Make) -> None:
    records = [make("rkd"), make("none"), make("kd"), make("teacher"), make("rkd", seed=1)]
    lines = lines_of(records, "top1")
    assert [line.title for line in lines] == ["teacher", "student alone", "rkd", "kd"]
    assert [line.n for line in lines] == [1, 1, 2, 1]


def test_teacher_that_was_only_noted(make: Make) -> None:
    teacher, *_ = lines_of([make("sp"), make("kd"), make("none")], "top1")
    assert (teacher.kind, teacher.network, teacher.parameters) == ("teacher", "digits-cnn", 155_000)
    assert teacher.metrics["top1"].values == (98.9,), "one teacher, however many it taught"


def test_a_teacher_for_each_seed(make: Make) -> None:
    def teacher(seed: int) -> TeacherRecord:
        return TeacherRecord(
            name=f"teacher/seed-{seed}",
            weights_sha256=str(seed),
            parameters=9,
            metrics={"top1": 90.0 + seed},
        )

    records = [
        make("sp", seed=seed, teacher=teacher(seed), changes={"teacher": f"teacher/seed-{seed}"})
        for seed in range(3)
    ]
    lines = lines_of(records, "top1")
    assert [line.n for line in lines] == [3, 3]
    assert lines[0].metrics["top1"].mean == 91


def test_teacher_of_other_images_does_not_stand_here(make: Make) -> None:
    elsewhere = make("teacher", top1=12.0, changes={"dataset": "mnist"})
    lines = lines_of([elsewhere, make("sp")], "top1")
    assert lines[0].metrics["top1"].mean == 98.9


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learning_rate": 0.1}, "learning_rate is 0.05 and 0.1"),
        ({"student": "other"}, "student is 'digits-cnn-small' and 'other'"),
        ({"method": "sp=9"}, "method is 'sp' and 'sp=9'"),
    ],
)
def test_one_label_is_one_thing(make: Make, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Fault, match=told):
        lines_of([make("sp"), make("sp", seed=1, changes=changes)], "top1")


def test_a_run_counts_once(make: Make) -> None:
    with pytest.raises(Fault, match="'sp' is there twice with seed 1"):
        lines_of([make("sp", seed=1), make("sp", seed=1, top1=97.3)], "top1")


def test_other_number_of_updates_is_marked(make: Make) -> None:
    row = Row(epoch=1, learning_rate=0.1, losses={}, steps=50, samples=1, seconds=1)
    lines = lines_of([make("none"), make("sp"), make("fsp", rows=(row, row))], "top1")
    assert {line.title: line.mark for line in lines if line.mark} == {"fsp": " †"}
    assert [line.steps for line in lines[1:]] == ["88", "88", "100"]


def test_difference_only_to_the_same_student(make: Make) -> None:
    other = make("sp-wide", changes={"student": "wide"})
    lines = {
        line.title: line for line in lines_of([make("none", top1=95.0), make("sp"), other], "top1")
    }
    assert lines["sp"].difference is not None
    assert lines["sp"].difference.mean == 2
    assert lines["sp-wide"].difference is None
    assert lines["student alone"].difference is None


def test_seeds_that_repeat_are_not_paired(make: Make) -> None:
    def taught(seed: int, by: str, top1: float) -> Record:
        teacher = TeacherRecord(name="t", weights_sha256=by, parameters=9, metrics={})
        return make("sp", seed=seed, top1=top1, teacher=teacher)

    records = [make("none", seed=seed, top1=95.0 + seed) for seed in range(2)]
    records += [taught(seed, by, 97.0 + seed) for seed in range(2) for by in "ab"]
    found = lines_of(records, "top1")[-1].difference
    assert found is not None
    assert (found.counts, found.paired) == ((4, 2), False)
