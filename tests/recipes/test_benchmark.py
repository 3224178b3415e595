"""The benchmark's pairs and protocol, as they are published."""

from typing import Any

import pytest

from relatum.models import MODELS
from relatum.recipes.benchmark import ACROSS, ALIKE, PAIRS, Pair, benchmark, teacher_of
from relatum.recipes.recipe import Recipe
from relatum.recipes.standard import STANDARD, protocol, standard
from relatum.recipes.transfer import WAYS, transfer
from relatum.types import Fault

GENTLE = {"mobilenetv2", "shufflenetv1", "shufflenetv2"}


def test_there_are_thirteen_pairs_of_networks_that_exist() -> None:
    assert len(PAIRS) == len(set(PAIRS)) == 13
    assert (len(ALIKE), len(ACROSS)) == (7, 6)
    assert {name for pair in PAIRS for name in pair} <= set(MODELS)
    assert {pair.teacher for pair in PAIRS} == {
        *("wrn-40-2", "resnet56", "resnet110", "resnet32x4", "vgg13", "resnet50-cifar")
    }
    assert str(Pair("vgg13", "vgg8")) == "vgg13:vgg8"


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_student_is_trained_by_the_protocol(pair: Pair) -> None:
    recipe = benchmark("cifar100", "teachers/one", pair.student, "sp", 2)
    assert recipe.model_dump(exclude_defaults=True) == {
        "dataset": "cifar100",
        "augment": ("crop", "flip"),
        "student": pair.student,
        "teacher": "teachers/one",
        "method": "sp",
        "seed": 2,
        "epochs": 240,
        "schedule": "steps",
        "milestones": (150, 180, 210),
        **({"learning_rate": 0.01} if pair.student in GENTLE else {}),
    }
    # what is the default of a recipe is written out here once
    assert (recipe.batch_size, recipe.momentum, recipe.nesterov) == (64, 0.9, False)
    assert (recipe.weight_decay, recipe.drop_last, recipe.validation) == (5e-4, True, 0.0)
    assert recipe.learning_rate == (0.01 if pair.student in GENTLE else 0.05)
    assert recipe.precision == "auto"


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_teachers_are_trained_likewise(pair: Pair) -> None:
    recipe = teacher_of("cifar100", pair.teacher)
    assert recipe == benchmark("cifar100", None, pair.teacher, "none")
    assert recipe.learning_rate == 0.05


def test_the_last_batch_is_a_convention_with_a_name() -> None:
    kept = benchmark("cifar100", None, "vgg8", "none", drop_last=False)
    assert (kept.last_batch, teacher_of("cifar100", "vgg13").last_batch) == ("kept", "dropped")


def test_changes_come_before_the_scale() -> None:
    changes: dict[str, Any] = {"epochs": 100, "milestones": (50, 90), "validation": 0.1}
    recipe = benchmark("cifar100", None, "vgg8", "kd", scale=0.1, **changes)
    assert (recipe.epochs, recipe.milestones, recipe.scale) == (10, (5, 9), 0.1)
    assert recipe.validation == 0.1
    assert teacher_of("cifar100", "vgg13", 0.05, samples=100).epochs == 12
    with pytest.raises(Fault, match=r"do not lie within 10 epochs .* there is --scale"):
        benchmark("cifar100", None, "vgg8", "kd", epochs=10)


@pytest.mark.parametrize("dataset", STANDARD)
def test_other_sets_keep_their_schedule_with_other_networks(dataset: str) -> None:
    usual = standard(dataset)[1]
    own = benchmark(dataset, "a", "resnet8", "kd", 1)
    changed = {"student": "resnet8", "teacher": "a", "method": "kd", "seed": 1, "dropout": None}
    # MNIST's small student has a rate of its own, which is not for others
    changed["learning_rate"] = standard(dataset)[0].learning_rate
    assert own == usual.but(**changed)
    assert teacher_of(dataset, "resnet14") == standard(dataset)[0].but(student="resnet14")


def test_the_usual_students_keep_what_is_theirs() -> None:
    assert benchmark("mnist", None, "mnist-mlp-32", "none").dropout == 0.0
    assert benchmark("mnist", None, "mnist-mlp-1200", "none").dropout is None
    assert standard("mnist", teacher="resnet8")[0].student == "resnet8"
    assert standard("./photos", student="vgg8")[1].student == "vgg8"


def test_a_path_is_a_set_too() -> None:
    recipe = benchmark("./photos", "t", "resnet8", "kd")
    assert (recipe.dataset, recipe.image_size) == ("./photos", None)


def test_the_gentle_rate_belongs_to_the_protocol() -> None:
    for dataset in ("cifar10", "stl10", "tiny-imagenet"):
        assert standard(dataset, student="mobilenetv2")[1] == protocol(dataset, "mobilenetv2")
    assert standard("digits", student="mobilenetv2")[1].learning_rate == 0.05


# Transfer ---------------------------------------------------------------------------------------


def test_the_transfer_protocol() -> None:
    recipe = transfer("runs/one", "wrn-16-2", "stl10", 4)
    assert recipe == Recipe(
        dataset="stl10",
        augment=("crop", "flip"),
        student="wrn-16-2",
        begin="runs/one",
        method="linear",
        seed=4,
        epochs=120,
        batch_size=64,
        drop_last=False,
        learning_rate=0.05,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(30, 60, 90),
    )


def test_its_ways() -> None:
    assert set(WAYS) == {"frozen", "drifting", "probe"}
    frozen, drifting, probe = (transfer("r", "vgg8", "stl10", way=way) for way in WAYS)
    assert drifting == frozen.but(method="linear-drifting")
    assert (probe.epochs, probe.probes, probe.method) == (0, ("linear",), "none")
    assert transfer("r", "vgg8", "stl10", validation=0.1).validation == 0.1
