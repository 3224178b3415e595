from collections.abc import Callable
from typing import Any

import pytest

from relatum.recipes.benchmark import PAIRS, Pair, benchmark
from relatum.record import Record, TeacherRecord, Unfinished
from relatum.report.pairs import NOBODY, Protocol, apart, belongs, by_pair, by_protocol, pair_of

Make = Callable[..., Record]


def taught(make: Make, teacher: str, student: str, label: str = "kd", **changes: Any) -> Record:
    """A run of a pair on CIFAR-100; nobody teaches where ``teacher`` is empty."""
    recipe = benchmark("cifar100", teacher or None, student, label, **changes)
    known = TeacherRecord(name=teacher, weights_sha256="ab", parameters=9, metrics={"top1": 75.0})
    return make(label).model_copy(update={"recipe": recipe, "teacher": known if teacher else None})


def lost(label: str, teacher: str | None, student: str) -> Unfinished:
    return Unfinished(
        label=label, kind="failed", reason="why", seed=0, teacher=teacher, student=student
    )


def test_pairs_stand_in_the_benchmarks_order(make: Make) -> None:
    records = [
        taught(make, "my:net", "vgg8"),
        taught(make, "resnet56", "resnet20"),
        taught(make, "wrn-40-2", "wrn-40-1"),
        taught(make, "wrn-40-2", "wrn-16-2"),
    ]
    assert list(by_pair(records)) == [PAIRS[0], PAIRS[1], PAIRS[2], Pair("my:net", "vgg8")]


def test_a_student_alone_is_in_all_its_pairs(make: Make) -> None:
    alone = taught(make, "", "vgg8", "none")
    one, other = taught(make, "vgg13", "vgg8"), taught(make, "resnet50-cifar", "vgg8")
    assert list(by_pair([alone, one, other]).values()) == [[alone, one], [alone, other]]


def test_a_pairs_own_student_alone_comes_first(make: Make) -> None:
    """As ``relatum distill`` trains it, which compares it with the teacher."""
    shared, own = taught(make, "", "vgg8", "none"), taught(make, "vgg13", "vgg8", "none")
    method = taught(make, "vgg13", "vgg8")
    assert by_pair([shared, own, method]) == {Pair("vgg13", "vgg8"): [own, method]}


def test_students_that_nobody_taught(make: Make) -> None:
    alone = taught(make, "", "vgg8", "none")
    assert by_pair([alone]) == {Pair(NOBODY, "vgg8"): [alone]}


def test_pairs_that_were_asked_for_are_there(make: Make) -> None:
    alone, pair = taught(make, "", "vgg8", "none"), Pair("vgg13", "vgg8")
    assert by_pair([alone], [pair]) == {pair: [alone]}


def test_teachers_are_no_students(make: Make) -> None:
    assert by_pair([taught(make, "", "vgg13", "teacher")]) == {}
    assert by_protocol([taught(make, "", "vgg13", "teacher")]) == []


def test_to_whom_an_unfinished_run_belongs() -> None:
    pair = Pair("vgg13", "vgg8")
    assert belongs(lost("kd", "vgg13", "vgg8"), pair)
    assert belongs(lost("none", None, "vgg8"), pair)
    assert not belongs(lost("kd", "vgg13", "vgg11"), pair)
    assert not belongs(lost("teacher", None, "vgg8"), pair)
    assert pair_of(lost("none", None, "vgg8")) == Pair(NOBODY, "vgg8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 300}, ["epochs 240", "epochs 300"]),
        ({"scale": 0.5}, None),
        ({"batch_size": 128}, ["batch size 64", "batch size 128"]),
        ({"augment": ()}, ["augment crop, flip", "augment none"]),
        ({"drop_last": False}, ["drop last yes", "drop last no"]),
        ({"samples": 500}, ["samples none", "samples 500"]),
        ({"validation": 0.1}, ["validation 0.0", "validation 0.1"]),
        ({"weight_decay": 0.0}, ["weight decay 0.0005", "weight decay 0.0"]),
        ({"labels": False}, ["labels yes", "labels no"]),
    ],
)
def test_protocols_stay_apart(make: Make, changes: dict[str, Any], told: list[str] | None) -> None:
    one, other = taught(make, "vgg13", "vgg8"), taught(make, "vgg13", "vgg8", **changes)
    assert by_protocol([one, other, one]) == [[one, one], [other]]
    if told is not None:
        assert apart([Protocol.of(one), Protocol.of(other)]) == told


def test_a_scale_changes_epochs_and_milestones(make: Make) -> None:
    one, other = taught(make, "vgg13", "vgg8"), taught(make, "vgg13", "vgg8", scale=0.05)
    assert apart([Protocol.of(one), Protocol.of(other)]) == [
        "epochs 240, scale 1.0, milestones 150, 180, 210",
        "epochs 12, scale 0.05, milestones 8, 9, 10",
    ]


def test_test_images_are_of_the_protocol(make: Make) -> None:
    one = taught(make, "vgg13", "vgg8")
    other = one.model_copy(update={"samples": {"test": 10}})
    assert len(by_protocol([one, other])) == 2


def test_a_networks_learning_rate_is_its_own(make: Make) -> None:
    """0.01 for MobileNetV2, 0.05 for VGG8, in one table."""
    records = [taught(make, "vgg13", "vgg8"), taught(make, "vgg13", "mobilenetv2")]
    assert records[0].recipe.learning_rate != records[1].recipe.learning_rate
    assert len(by_protocol(records)) == 1
    assert Protocol.of(records[1]).departures == []


def test_departures_from_what_is_published(make: Make) -> None:
    def told(**changes: Any) -> list[str]:
        return Protocol.of(taught(make, "vgg13", "vgg8", **changes)).departures

    assert told() == told(drop_last=False) == []
    assert told(learning_rate=0.1) == ["learning rate 0.1 (not 0.05)"]
    assert told(validation=0.1) == ["validation 0.1 (not 0.0)"]


def test_a_protocol_in_words(make: Make) -> None:
    record = taught(make, "vgg13", "vgg8", drop_last=False, samples=500, validation=0.1)
    assert Protocol.of(record).title == (
        "cifar100: 240 epochs of batches of 64, short last batch kept, crop and flip,"
        " 500 training images, 10 % cut for validation"
    )
