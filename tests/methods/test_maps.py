"""The benchmark's methods on feature maps: what they build, on which pairs, and that it trains."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Size, nn

from relatum.distiller import Distiller
from relatum.losses import AB, AT, FSP, FT, KDSVD, NST, CrossEntropy, FitNet, Paraphraser, VIDStages
from relatum.methods import METHODS, Setting, Stage
from relatum.models import create
from relatum.objective import On
from relatum.recipes.benchmark import PAIRS
from relatum.taps import Tapped, shapes
from relatum.teachers import Teacher
from relatum.types import Batch, Fault, Shapes
from tests.methods.settings import AUTO
from tests.toys import state

CLASSES = 4
IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.arange(6) % CLASSES, torch.arange(6))
CE: tuple[type, On, float] = (CrossEntropy, "output", 1.0)

# name -> for each of its stages {term: (loss, tap, weight)}, written down from RepDistiller
PUBLISHED: dict[str, tuple[dict[str, tuple[type, On, float]], ...]] = {
    "fitnet": ({"ce": CE, "fitnet": (FitNet, "stage2", 100.0)},),
    "at": ({"ce": CE, "at": (AT, "stages", 1000.0)},),
    "vid": ({"ce": CE, "vid": (VIDStages, "stages", 1.0)},),
    "nst": ({"ce": CE, "nst": (NST, "stages", 50.0)},),
    "kdsvd": ({"ce": CE, "kdsvd": (KDSVD, "stages", 1.0)},),
    "fsp": ({"fsp": (FSP, ("stem", "stages"), 1.0)}, {"ce": CE}),
    "ab": ({"ab": (AB, "preactivations", 1.0)}, {"ce": CE}),
    "ft": ({"paraphraser": (Paraphraser, "maps", 1.0)}, {"ce": CE, "ft": (FT, "maps", 200.0)}),
}
SAME_CHANNELS = {"fsp", "kdsvd"}
ALIKE = [
    ("wrn-40-2", "wrn-16-2"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("vgg13", "vgg8"),
]


def tapped(name: str, seed: int = 0) -> Tapped:
    torch.manual_seed(seed)
    network = create(name, channels=3, size=32, classes=CLASSES)
    assert isinstance(network.taps, dict)
    return Tapped(network, network.taps)


@cache
def given(name: str) -> Shapes:
    return shapes(tapped(name), IMAGES[:1])


def setting(teacher: str = "resnet14", student: str = "resnet8", **named: Any) -> Setting:
    return Setting(given(student), given(teacher), "logits", "logits", 60, CLASSES, **named)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_as_published(name: str) -> None:
    stages = METHODS[name](setting())
    found = tuple(
        {term: (type(e.loss), e.on, e.weight) for term, e in stage.objective.terms.items()}
        for stage in stages
    )
    assert found == PUBLISHED[name]
    for stage in stages[:-1]:
        assert (stage.share, stage.schedule) == (1 / 8, "constant")
        assert stage.epochs(240) == 30
    last = stages[-1]
    assert (last.share, last.schedule, last.only, last.learning_rate) == (1, None, None, None)


@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_every_pair_of_the_benchmark_is_served(teacher: str, student: str) -> None:
    for name in PUBLISHED:
        if name in SAME_CHANNELS and (teacher, student) not in ALIKE:
            with pytest.raises(Fault, match="needs networks with the same channels: layer") as told:
                METHODS[name](setting(teacher, student))
            assert "\n" not in str(told.value)
        else:
            assert METHODS[name](setting(teacher, student))


def updated(stage: Stage, student: Tapped, teacher: Teacher) -> tuple[set[str], nn.Module]:
    """One update: the names of what it changed in the student, and the objective."""
    distiller = Distiller(student, teacher, stage.objective, only=stage.only)
    for parameter in student.parameters():
        parameter.requires_grad_()
    before = state(student.network)
    distiller.rest(BATCH)
    distiller.train()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-3)
    losses = distiller.losses(BATCH)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert losses.total.isfinite()
    for each, parameter in stage.objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, each
    optimizer.step()
    after = state(student.network)
    return {each for each in before if not torch.equal(before[each], after[each])}, stage.objective


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_update_changes_the_student(name: str) -> None:
    student, teacher = tapped("resnet8"), tapped("resnet14", seed=1)
    network = Teacher(teacher.network, teacher.taps)
    stages = METHODS[name](setting())
    for number, stage in enumerate(stages, start=1):
        changed, _ = updated(stage, student, network)
        if name == "ft" and number == 1:
            assert changed == set(), "the paraphraser learns alone"
        elif number < len(stages):
            assert "layer1.0.conv1.weight" in changed
            assert "bn1.running_mean" in changed, "the backbone is in training mode"
            assert not any(each.startswith("fc.") for each in changed), "no term reaches it"
        else:
            assert {"conv1.weight", "layer3.0.conv1.weight", "fc.weight"} <= changed


def test_heads_fit_the_pair() -> None:
    pair = setting("vgg13", "mobilenetv2")
    stages = {name: METHODS[name](pair) for name in PUBLISHED if name not in SAME_CHANNELS}
    (fitnet,), (vid,) = stages["fitnet"], stages["vid"]
    loss: Any = fitnet.objective.terms["fitnet"].loss
    assert loss.regressor[0].weight.shape == (256, 16, 1, 1)
    loss = vid.objective.terms["vid"].loss
    assert [stage.regressor[0].in_channels for stage in loss.stages] == [12, 16, 48, 160]
    assert [len(stage.log_scale) for stage in loss.stages] == [128, 256, 512, 512]
    loss = stages["ab"][0].objective.terms["ab"].loss
    assert loss.margin == 1
    assert [type(each[0]) for each in loss.connectors] == [
        *[nn.Conv2d] * 3,
        nn.ConvTranspose2d,  # 2x2 to 4x4
    ]
    loss = stages["ft"][1].objective.terms["ft"].loss
    assert (loss.paraphraser.channels, loss.paraphraser.factor_channels) == (512, 256)
    assert loss.translator[0].in_channels == 160


def test_ab_connects_only_what_differs() -> None:
    loss: Any = METHODS["ab"](setting())[0].objective.terms["ab"].loss
    assert all(isinstance(each, nn.Identity) for each in loss.connectors)


def test_one_paraphraser_serves_both_stages_of_ft() -> None:
    first, second = METHODS["ft"](setting())
    paraphraser: Any = first.objective.terms["paraphraser"].loss
    transfer: Any = second.objective.terms["ft"].loss
    assert transfer.paraphraser is paraphraser
    assert (first.only, first.learning_rate) == ((), 0.01)
    assert not first.objective.accepts("student"), "the student need not run"
    assert all(parameter.requires_grad for parameter in paraphraser.parameters())
    student, teacher = tapped("resnet8"), tapped("resnet14", seed=1)
    network = Teacher(teacher.network, teacher.taps)
    updated(first, student, network)
    before = state(paraphraser)
    updated(second, student, network)
    assert not any(parameter.requires_grad for parameter in paraphraser.parameters())
    after = state(paraphraser)
    assert all(torch.equal(before[each], after[each]) for each in before)


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"fsp", "ab"}))
def test_without_labels_the_label_term_goes_and_the_others_stay(name: str) -> None:
    stages = METHODS[name](replace(setting(), classes=None))
    wanted = [[term for term in stage if term != "ce"] for stage in PUBLISHED[name]]
    assert [list(stage.objective.terms) for stage in stages] == wanted


@pytest.mark.parametrize("name", ["fsp", "ab"])
def test_without_labels_there_is_nothing_to_initialise_for(name: str) -> None:
    with pytest.raises(Fault, match=f"{name} only initialises a student, which then learns from"):
        METHODS[name](replace(setting(), classes=None))


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_without_stages_are_refused_in_one_line(name: str) -> None:
    for wrong in (AUTO, replace(AUTO, teacher=None, teacher_says=None)):
        with pytest.raises(Fault) as told:
            METHODS[name](wrong)
        assert "\n" not in str(told.value)
    if name != "ft":
        with pytest.raises(Fault, match="both networks need the tap"):
            METHODS[name](AUTO)


@pytest.mark.parametrize("name", PUBLISHED)
def test_vectors_are_refused(name: str) -> None:
    on = ("embedding", "embedding") if name in SAME_CHANNELS else "embedding"
    with pytest.raises(
        Fault, match=r"compares feature maps, and 'embedding'.* of the student gives 64"
    ):
        METHODS[name](setting(on=on))


@pytest.mark.parametrize("name", ["fitnet", "at", "vid", "nst", "ft"])
def test_another_map_can_be_read(name: str) -> None:
    stages = METHODS[name](setting(on="stage1"))
    terms = {name: term for stage in stages for name, term in stage.objective.terms.items()}
    assert {term.on for name, term in terms.items() if name != "ce"} == {"stage1"}


def test_fsp_reads_other_layers() -> None:
    first, _ = METHODS["fsp"](setting("resnet8x4", "resnet8x4", on=("stage1", "stage3")))
    assert first.objective.terms["fsp"].on == ("stage1", "stage3")
    with pytest.raises(Fault, match="compares consecutive layers, and 'maps' gives one"):
        METHODS["fsp"](setting(on="maps"))


def test_the_first_layer_with_other_channels_is_named() -> None:
    with pytest.raises(
        Fault, match=r"layer 2 of 'stem' and 'stages' has 64 in the student and 32 in the"
    ):
        METHODS["fsp"](unequal())
    with pytest.raises(Fault, match="layer 1 of 'stages' has 64 in the student and 32 in the"):
        METHODS["kdsvd"](unequal())


def unequal() -> Setting:
    """Stems alike, first stages not."""
    have = given("wrn-16-2")
    rest = have["stages"][1:]
    other = {**have, "stages": (Size([1, 64, 32, 32]), *rest)}
    return replace(setting("wrn-16-2", "wrn-16-2"), student=other)


def test_networks_with_other_numbers_of_stages_are_told_the_way_out() -> None:
    with pytest.raises(Fault, match="at 'stages' the student has 3, the teacher 4; name as many"):
        METHODS["at"](setting("vgg8", "resnet8"))
