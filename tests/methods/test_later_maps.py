"""The later methods on feature maps: what they build, on which pairs, and that it trains."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Size, nn

from relatum.distiller import Distiller
from relatum.losses import (
    ICKD,
    KD,
    OFD,
    SRRL,
    CrossEntropy,
    OFDMargin,
    ReviewKD,
    SemCKD,
    SimKD,
)
from relatum.methods import METHODS, Setting
from relatum.models import create
from relatum.models.simkd import SimKDStudent
from relatum.objective import On, Term
from relatum.recipes.benchmark import PAIRS
from relatum.taps import Tap, Tapped, shapes
from relatum.teachers import Teacher
from relatum.types import Batch, Fault
from tests.methods.settings import AUTO
from tests.toys import same, state

CLASSES, ROWS = 4, 16
IMAGES = torch.rand(ROWS, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.arange(ROWS) % CLASSES, torch.arange(ROWS))

# name -> {term: (loss, student's tap, teacher's tap, weight at the end)}, from the authors' code
PUBLISHED: dict[str, dict[str, tuple[type, On, On | None, float]]] = {
    "ofd": {
        "ce": (CrossEntropy, "output", None, 1.0),
        "ofd": (OFD, "preactivations", None, 0.001),
    },
    "reviewkd": {
        "ce": (CrossEntropy, "output", None, 1.0),
        "reviewkd": (ReviewKD, ("stages", "embedding"), ("preactivations", "embedding"), 1.0),
    },
    "srrl": {
        "ce": (CrossEntropy, "output", None, 1.0),
        "srrl": (SRRL, "maps", "embedding", 1.0),
    },
    "semckd": {
        "ce": (CrossEntropy, "output", None, 1.0),
        "semckd": (SemCKD, "stages", None, 400.0),
        "soft": (KD, "output", None, 1.0),
    },
    "ickd": {"ce": (CrossEntropy, "output", None, 1.0), "ickd": (ICKD, "maps", None, 2.5)},
    "simkd": {"simkd": (SimKD, "maps", "maps", 1.0)},
}


@cache
def tapped(name: str, seed: int = 0) -> Tapped:
    torch.manual_seed(seed)
    network = create(name, channels=3, size=32, classes=CLASSES)
    assert isinstance(network.taps, dict)
    return Tapped(network, network.taps)


def setting(teacher: str = "resnet14", student: str = "resnet8", **named: Any) -> Setting:
    """A pair of the benchmark's networks; for SimKD the student is not yet changed."""
    pair = tapped(student), tapped(teacher, seed=1)
    given = [shapes(each, IMAGES[:2]) for each in pair]
    asked = {"batch": ROWS, "student_network": pair[0], "teacher_network": pair[1], **named}
    return Setting(given[0], given[1], "logits", "logits", 60, CLASSES, **asked)


def adopted(name: str, asked: Setting) -> Setting:
    """The setting as a run has it: with the student that the method puts in its place."""
    adopt = METHODS[name].adopt
    if adopt is None:
        return asked
    network: Any = adopt(asked)
    own = Tapped(network, network.taps)
    return replace(asked, student=shapes(own, IMAGES[:2]), student_network=own)


def terms(name: str, asked: Setting) -> dict[str, Term]:
    (stage,) = METHODS[name](adopted(name, asked))
    assert (stage.share, stage.only, stage.learning_rate, stage.schedule) == (1, None, None, None)
    return dict(stage.objective.terms)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_as_published(name: str) -> None:
    found = {
        term: (type(each.loss), each.on, each.teacher_on, each.weight_at(1.0))
        for term, each in terms(name, setting()).items()
    }
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_labels_the_label_term_goes_and_the_others_stay(name: str) -> None:
    found = set(terms(name, replace(setting(), classes=None)))
    assert found == set(PUBLISHED[name]) - {"ce"}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_every_pair_of_the_benchmark_is_served(name: str, teacher: str, student: str) -> None:
    asked = setting(teacher, student)
    assert asked.teacher is not None
    if name == "simkd" and teacher.startswith("wrn") and "final" not in asked.teacher:
        with pytest.raises(Fault, match="classifier reads the mean of a feature map"):
            terms(name, asked)
    else:
        with torch.device("meta" if name == "semckd" else "cpu"):  # it has up to 8e8 parameters
            assert set(terms(name, asked)) == set(PUBLISHED[name])


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("pair", [("resnet14", "resnet8"), ("vgg8", "mobilenetv2")])
def test_an_update_changes_the_student_and_every_head(name: str, pair: tuple[str, str]) -> None:
    asked = adopted(name, setting(*pair))
    assert asked.student_network is not None
    assert asked.teacher_network is not None
    student = Tapped(asked.student_network.network, asked.student_network.taps)
    student.requires_grad_()
    if isinstance(student.network, SimKDStudent):
        student.network.fc.requires_grad_(False)
    teacher = Teacher(asked.teacher_network.network, asked.teacher_network.taps)
    (stage,) = METHODS[name](asked)
    stage.objective.at(1.0)  # past any warm-up
    distiller = Distiller(student, teacher, stage.objective)
    before, taught = state(student.network), teacher.state()
    distiller.rest(BATCH)
    distiller.train()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-6)
    losses = distiller.losses(BATCH)
    assert losses.total.isfinite()
    losses.total.backward()  # type: ignore[no-untyped-call]
    for each, parameter in stage.objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            # rows of a Gram matrix of an untrained teacher are nearly parallel: all ReLUs may rest
            assert parameter.grad.abs().sum() > 0 or ".keys." in each or ".queries." in each, each
    optimizer.step()
    after = state(student.network)
    changed = {each for each in before if not torch.equal(before[each], after[each])}
    assert any(each.endswith("conv1.weight") or each.endswith("0.weight") for each in changed)
    fixed = {each for each, p in student.network.named_parameters() if not p.requires_grad}
    assert not fixed & changed
    assert same(dict(taught), dict(teacher.state()))


def loss(name: str, asked: Setting) -> Any:
    return terms(name, asked)[name].loss


def test_heads_fit_the_pair() -> None:
    pair = setting("vgg13", "mobilenetv2")
    ofd = loss("ofd", pair)
    assert [head[0].weight.shape[:2] for head in ofd.heads] == [
        (128, 12), (256, 16), (512, 48), (512, 160)
    ]  # fmt: skip
    review = loss("reviewkd", pair)
    assert [stage.enter[0].in_channels for stage in review.stages] == [12, 16, 48, 160, 1280]
    assert [stage.leave[0].out_channels for stage in review.stages] == [128, 256, 512, 512, 512]
    assert {stage.enter[0].out_channels for stage in review.stages} == {512}
    assert loss("srrl", pair).head[0].weight.shape == (512, 160, 1, 1)
    assert loss("ickd", pair).heads[0][0].weight.shape == (512, 160, 1, 1)
    semckd = loss("semckd", pair)
    assert (len(semckd.queries), len(semckd.keys), semckd.batch) == (4, 4, ROWS)
    simkd: Any = adopted("simkd", pair).student_network
    assert isinstance(simkd.network, SimKDStudent)
    assert simkd.network.projector[0].weight.shape == (256, 160, 1, 1)


def test_the_warm_up_of_reviewkd_is_a_twelfth() -> None:
    term = terms("reviewkd", setting())["reviewkd"]
    assert [term.weight_at(at) for at in (0, 1 / 24, 1 / 12, 0.5)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize("teacher", ["resnet14", "wrn-16-1", "vgg8", "shufflenetv1"])
def test_ofds_margins_are_those_of_the_norms_that_the_teacher_names(teacher: str) -> None:
    asked = setting(teacher, teacher)
    assert asked.teacher_network is not None
    network: Any = asked.teacher_network.network
    if not network.norms:
        with pytest.raises(Fault, match="does not name one for each"):
            terms("ofd", asked)
        return
    own = loss("ofd", asked)
    for stage, path in enumerate(network.norms):
        norm = network.get_submodule(path)
        assert torch.equal(own.get_buffer(f"margin{stage}"), OFDMargin(norm.weight, norm.bias))


def test_ofd_needs_the_norms() -> None:
    with pytest.raises(Fault, match="this teacher does not name one for each"):
        terms("ofd", setting(teacher_network=None))
    nameless = Tapped(nn.Sequential(nn.Conv2d(3, 4, 1)), {})
    with pytest.raises(Fault, match="this teacher does not name one for each"):
        terms("ofd", setting(teacher_network=nameless))
    with pytest.raises(Fault, match="it takes no tap"):
        terms("ofd", setting(on="stages"))


def test_srrl_keeps_a_frozen_copy_of_the_teachers_classifier() -> None:
    teacher: Any = tapped("resnet14", seed=1)
    own, teachers = loss("srrl", setting()).teacher_classifier, teacher.network.fc
    assert torch.equal(own.weight, teachers.weight)
    assert own is not teachers
    assert not own.weight.requires_grad


def test_a_teachers_classifier_is_copied_without_what_hangs_on_it() -> None:
    """Neither the hooks of its taps, nor a draw of the process's randomness."""
    asked = setting()
    assert asked.teacher_network is not None
    randomness = torch.get_rng_state()
    own = asked.teacher_classifier()
    assert torch.equal(torch.get_rng_state(), randomness)
    assert asked.teacher_network.network.get_submodule("fc")._forward_pre_hooks
    assert not own._forward_pre_hooks


def test_a_classifier_that_reads_an_activation_of_the_embedding_is_refused() -> None:
    """The perceptron's embedding is what enters the ReLU before its classifier."""
    network = create("mnist-mlp-1200", channels=1, size=28, classes=CLASSES)
    assert isinstance(network.taps, dict)
    teacher = Tapped(network, network.taps)
    with pytest.raises(Fault, match="a linear layer that reads its embedding"):
        setting(teacher_network=teacher).teacher_classifier()


def test_srrl_reads_the_embedding_of_a_student_without_maps() -> None:
    asked = setting()
    student = {name: size for name, size in asked.student.items() if name != "maps"}
    term = terms("srrl", replace(asked, student=student))["srrl"]
    assert (term.on, term.teacher_on) == ("embedding", "embedding")
    with pytest.raises(Fault, match="does not end in a linear"):
        terms("srrl", replace(asked, teacher_network=None))


def test_semckd_wants_batches_of_one_size() -> None:
    with pytest.raises(Fault, match=r"drop it \(--set drop_last=true\)"):
        terms("semckd", setting(batch=None))
    with pytest.raises(Fault, match=r"batch must be at least 8, .* got 7"):
        terms("semckd", setting(batch=7))


def test_semckd_is_soft_only_over_shared_classes() -> None:
    assert set(terms("semckd", setting(same_classes=False))) == {"ce", "semckd"}


def test_semckd_pairs_any_number_of_stages() -> None:
    own = loss("semckd", setting("vgg8", "resnet8"))
    assert (len(own.queries), len(own.keys)) == (3, 4)
    for name in ("ofd", "reviewkd"):
        with pytest.raises(Fault, match=r"the student has [34], the teacher [45]; name as many"):
            terms(name, setting("vgg8", "resnet8"))


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("ickd", "stage2"),
        ("semckd", "stage2"),
        ("srrl", "stage2"),
        ("reviewkd", ("stage1", "stage3")),
    ],
)
def test_another_map_can_be_read(name: str, on: On) -> None:
    term = terms(name, setting(on=on))[name]
    assert term.on == on
    assert term.teacher_on in (None, on, "embedding")


@pytest.mark.parametrize("name", ["ickd", "semckd"])
def test_vectors_are_refused(name: str) -> None:
    with pytest.raises(
        Fault, match="compares feature maps, and 'embedding' of the student gives 64 a sample"
    ):
        terms(name, setting(on="embedding"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_without_maps_are_refused_in_one_line(name: str) -> None:
    for wrong in (AUTO, replace(AUTO, teacher=None, teacher_says=None)):
        for asked in (wrong, replace(wrong, batch=ROWS)):
            with pytest.raises(Fault) as told:
                METHODS[name](asked)
            assert "\n" not in str(told.value)


def test_simkd_needs_a_student_that_wears_the_projector() -> None:
    with pytest.raises(Fault, match=r"a map of 16 channels with one of 64.* must wear a projector"):
        METHODS["simkd"](replace(setting(), student={"maps": Size([2, 16, 8, 8])}))
    with pytest.raises(Fault, match="it takes no tap"):
        METHODS["simkd"](setting(on="stage2"))


def test_simkd_speaks_the_teachers_classes() -> None:
    asked = setting(same_classes=False)
    with pytest.raises(Fault, match="other classes apart than this set has"):
        adopted("simkd", asked)
    assert adopted("simkd", replace(asked, classes=None)).student["output"] == Size([2, CLASSES])


def test_simkd_needs_both_networks_themselves() -> None:
    for lacking in (setting(student_network=None), setting(teacher_network=None)):
        with pytest.raises(Fault, match="and one is missing"):
            adopted("simkd", lacking)


def test_simkd_leaves_the_student_that_it_builds_on_as_it_was() -> None:
    student = create("resnet8", channels=3, size=32, classes=CLASSES)
    own: Any = Tapped(student, student.taps)  # type: ignore[arg-type]
    asked = setting(student_network=own)
    before, hooks = state(student), len(own._hooks)
    network: Any = adopted("simkd", asked).student_network
    assert same(state(student), before)
    assert len(own._hooks) == hooks
    assert own(IMAGES).read("embedding").shape == (ROWS, 64)
    trunk = network.network.trunk
    heard = [
        p for p, m in trunk.network.named_modules() if m._forward_hooks or m._forward_pre_hooks
    ]
    assert heard == ["layer3"], "only its own tap listens"
    assert torch.equal(trunk.network.conv1.weight, own.network.conv1.weight)


def test_simkd_reads_the_tap_whose_mean_the_classifier_reads() -> None:
    """A WRN's last stage passes a batch norm and a ReLU before it is pooled."""
    network = create("wrn-16-1", channels=3, size=32, classes=CLASSES)
    assert isinstance(network.taps, dict)
    own = {name: network.taps[name] for name in ("embedding", "maps")}
    teacher = Tapped(network, {**own, "activated": Tap("relu")})
    given = shapes(teacher, IMAGES[:2])
    asked = replace(setting(), teacher=given, teacher_network=teacher)
    assert terms("simkd", asked)["simkd"].teacher_on == "activated"
