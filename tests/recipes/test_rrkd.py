"""The paper's experiments: what is run, and the faults that are planted in one variant alone."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

import relatum
from relatum.data import Batches, Resident
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import RRKD, CrossEntropy
from relatum.models import MODELS, create
from relatum.objective import Objective, Term
from relatum.recipes.plan import Arm, Plan
from relatum.recipes.recipe import Recipe
from relatum.recipes.rrkd import REPRODUCTIONS, SETTINGS, Variant
from relatum.schedules import constant
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Input
from tests import toys

VARIANTS: tuple[Variant, ...] = get_args(Variant)
EVERY = [(name, variant) for name in REPRODUCTIONS for variant in VARIANTS]


def plan(name: str, variant: Variant = "authors") -> Plan:
    return REPRODUCTIONS[f"rrkd/mnist-{name}"].plan(variant, (42, 43, 44))


def arm(name: str, label: str, variant: Variant = "authors") -> Arm:
    (found,) = (each for each in plan(name, variant).arms if each.label == label)
    return found


def fields(recipe: Recipe, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(recipe, name) for name in names)


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_every_plan_is_whole(name: str, variant: Variant) -> None:
    made = REPRODUCTIONS[name].plan(variant, REPRODUCTIONS[name].seeds)
    assert made.name == name
    assert made.seeds == (42, 43, 44)
    assert made.metric == "probe"
    assert not made.teacher.learns
    labels = [each.label for each in made.arms]
    assert len(set(labels)) == len(labels)
    for claim in made.claims:
        assert claim.arm in labels
        assert claim.than in labels or "%" in claim.than
    assert set(made.published) <= set(labels)
    for each in (made.teacher, *made.arms):
        recipe = each.recipe
        assert recipe.student in MODELS
        assert fields(recipe, "dataset", "validation", "split_seed") == ("mnist", 0.1, 42)
        assert fields(recipe, "batch_size", "drop_last", "schedule") == (128, False, "constant")
        assert fields(recipe, "weight_decay", "precision", "probes") == (0, "auto", ("linear",))
        assert recipe.epochs in (20, 0)
        for setting in each.settings:
            recipe.but(**setting)


def test_experiment_a_as_the_authors_ran_it() -> None:
    made = plan("autoencoder")
    teacher, none, rrkd = made.teacher.recipe, *(each.recipe for each in made.arms)
    wanted = ("student", "learning_rate", "momentum", "epochs", "method", "dropout")
    assert fields(teacher, *wanted) == ("mnist-ae-64", 0.1, 0.9, 20, "none", None)
    assert fields(none, *wanted) == ("mnist-ae-32", 1e-8, 0.9, 20, "none", None)
    assert fields(rrkd, *wanted) == ("mnist-ae-32", 0.1, 0.9, 20, "rrkd", None)
    assert not any(each.settings for each in made.arms)


def test_experiment_c_as_the_authors_ran_it() -> None:
    made = plan("supervised")
    teacher, none, rrkd = made.teacher.recipe, *(each.recipe for each in made.arms)
    wanted = ("student", "learning_rate", "momentum", "epochs", "method", "dropout")
    assert fields(teacher, *wanted) == ("mnist-mlp-1200", 0.1, 0.0, 20, "none", None)
    assert fields(none, *wanted) == ("mnist-mlp-32", 0.1, 0.0, 20, "none", None)
    assert fields(rrkd, *wanted) == ("mnist-mlp-32", 0.1, 0.9, 20, "rrkd", None)


def test_experiment_e_has_four_choices_of_anchors() -> None:
    for variant in VARIANTS:
        found = [fields(e.recipe, "anchors", "anchor_count") for e in plan("anchors", variant).arms]
        assert found == [
            ("batch", 128),
            ("random", 128),
            ("random-per-class", 13),
            ("confident-per-class", 13),
        ]


@pytest.mark.parametrize("name", ["autoencoder", "supervised", "anchors"])
def test_on_equal_terms_every_method_gets_the_same_search(name: str) -> None:
    made = plan(name, "fair")
    learning = [each for each in made.arms if each.recipe.epochs]
    assert all(each.settings == SETTINGS for each in learning)
    plain = {"method": "none", "anchors": "batch", "anchor_count": 128}
    assert len({each.recipe.but(**plain) for each in learning}) == 1
    assert len(SETTINGS) == len({tuple(each.items()) for each in SETTINGS}) == 8
    assert all(each.recipe.learning_rate == 0.1 for each in learning)


def test_faults_are_planted_in_the_authors_variant_alone() -> None:
    for name in REPRODUCTIONS:
        altered = {e.label for e in REPRODUCTIONS[name].plan("fair", (0,)).arms if e.alter}
        assert altered <= {"pca"}
    assert plan("autoencoder").teacher.alter is None
    package = Path(relatum.__file__).parent
    guilty = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "network.train()" in path.read_text() or "_relapse" in path.read_text()
    ]
    assert guilty == ["recipes/rrkd.py"]


# The faults -------------------------------------------------------------------------------------


def pair() -> tuple[Teacher, Distiller]:
    torch.manual_seed(2)
    taught = Teacher(*mlp(9))
    objective = Objective(ce=Term(CrossEntropy()), rrkd=Term(RRKD(), on="embedding"))
    student = Tapped(*mlp(5))
    return taught, Distiller(student, taught, objective)


def mlp(width: int) -> tuple[nn.Module, Any]:
    from relatum.models.mnist import Perceptron

    network = Perceptron(1, 6, toys.CLASSES, width, dropout=0.5)
    return network, network.taps


def teachings(distiller: Distiller, epoch: int) -> Tensor:
    batch = next(toys.batches().epoch(epoch))
    assert distiller.teacher is not None
    taught = distiller.teacher(batch)
    assert not taught.output.requires_grad
    return taught.output


@pytest.mark.parametrize(("name", "label"), [("autoencoder", "rrkd"), ("supervised", "rrkd")])
def test_the_teacher_relapses_from_the_second_epoch_on(name: str, label: str) -> None:
    taught, distiller = pair()
    alter = arm(name, label).alter
    assert alter is not None
    alter(distiller, toys.resident())
    assert isinstance(distiller.teacher, Teacher)
    assert distiller.teacher is not taught
    assert torch.equal(teachings(distiller, 1), teachings(distiller, 1))
    assert torch.equal(teachings(distiller, 1), taught(next(toys.batches().epoch(1))).output)
    for epoch in (2, 3):
        assert not torch.equal(teachings(distiller, epoch), teachings(distiller, epoch))
    # who measures afterwards finds it at rest, and unlearnt
    before = toys.state(taught.network)
    batch = next(toys.batches().epoch(2))
    assert torch.equal(taught(batch).output, taught(batch).output)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    for _ in fit(distiller, toys.batches(), optimizer, constant(), 3):
        pass
    assert toys.same(toys.state(taught.network), before)


def test_the_arms_of_experiment_e_relapse_too() -> None:
    for each in plan("anchors").arms:
        _, distiller = pair()
        assert each.alter is not None
        each.alter(distiller, toys.resident())
        assert not torch.equal(teachings(distiller, 2), teachings(distiller, 2))


def test_the_head_is_random_and_never_learns() -> None:
    _, distiller = pair()
    alter = arm("supervised", "rrkd").alter
    assert alter is not None
    alter(distiller, toys.resident())
    distiller.rest(toys.batch())
    head = distiller.deployed().get_submodule("classifier.2")
    assert isinstance(head, nn.Linear)
    assert head.out_features == toys.CLASSES
    before = toys.state(distiller.deployed())
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.5)
    for _ in fit(distiller, toys.batches(), optimizer, constant(), 2):
        pass
    after = toys.state(distiller.deployed())
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == {"classifier.2.weight", "classifier.2.bias"}


def test_in_experiment_a_the_student_learns_in_whole() -> None:
    _, distiller = pair()
    alter = arm("autoencoder", "rrkd").alter
    assert alter is not None
    alter(distiller, toys.resident())
    assert all(each.requires_grad for each in distiller.deployed().parameters())


def test_pca_is_sklearns() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.rand(40, 64, generator=generator)
    images = (torch.rand(120, 40, generator=generator) @ mixing * 8).byte().view(120, 1, 8, 8)
    train = Resident(images, torch.arange(120) % 10)
    network = create("mnist-linear-32", channels=1, size=8, classes=10)
    assert isinstance(network.taps, dict)
    student = Tapped(network, network.taps, Input(mean=(0.5,), std=(0.5,)))
    distiller = Distiller(student, None, Objective(ce=Term(CrossEntropy())))
    alter = arm("supervised", "pca", "fair").alter
    assert alter is not None
    alter(distiller, train)
    (batch,) = Batches(train, 120).epoch(0)
    pixels = ((batch.images - 0.5) / 0.5).flatten(1).double().numpy()
    wanted = torch.from_numpy(PCA(32, svd_solver="full").fit_transform(pixels))
    with torch.no_grad():
        found = student(batch.images).taps["embedding"]
    assert isinstance(found, Tensor)
    # an axis may point either way
    torch.testing.assert_close(found.double().abs(), wanted.abs(), rtol=1e-3, atol=2e-3)
    assert arm("supervised", "pca", "fair").recipe.epochs == 0
