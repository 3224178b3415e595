"""Methods on logits: their weights, whom they can serve, and a step of training."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Size

from relatum.distiller import Distiller
from relatum.losses import (
    CTKD,
    DIST,
    DKD,
    KD,
    LSKD,
    MLKD,
    NKD,
    RLD,
    SKD,
    TTM,
    WSLD,
    WTTM,
    CrossEntropy,
    LumiNet,
)
from relatum.methods import METHODS, Setting
from relatum.objective import Objective, Term
from relatum.taps import shapes
from relatum.types import Fault
from tests import toys
from tests.methods.settings import AUTO, SETTING, STUDENT, TEACHER

# name -> (loss, its weight at the end, that of cross-entropy), from the papers and their code
PUBLISHED: dict[str, tuple[type, float, float]] = {
    "wsld": (WSLD, 2.25, 1.0),
    "dkd": (DKD, 1.0, 1.0),
    "dist": (DIST, 2.0, 1.0),
    "ctkd": (CTKD, 0.9, 0.1),
    "nkd": (NKD, 1.0, 1.0),
    "mlkd": (MLKD, 0.9, 0.1),
    "luminet": (LumiNet, 33.0**2, 2.0),
    "ttm": (TTM, 45.0, 1.0),
    "wttm": (WTTM, 2.25, 1.0),
    "lskd": (LSKD, 9.0, 0.1),
    "rld": (RLD, 1.0, 1.0),
    "skd": (SKD, 0.9, 0.1),
}
LABELLED = {"dkd", "nkd", "rld", "wsld"}
WARMED = {"dkd", "luminet", "rld"}


def objective(name: str, setting: Setting = SETTING) -> Objective:
    (stage,) = METHODS[name](setting)
    assert (stage.share, stage.only) == (1, None)
    return stage.objective


def terms(name: str, setting: Setting = SETTING) -> dict[str, Term]:
    return dict(objective(name, setting).terms)


def loss(name: str) -> Any:
    return terms(name)[name].loss


@pytest.mark.parametrize("name", PUBLISHED)
def test_losses_and_weights_are_the_published(name: str) -> None:
    kind, weight, task = PUBLISHED[name]
    found = terms(name)
    assert list(found) == ["ce", name]
    assert isinstance(found["ce"].loss, CrossEntropy)
    assert found["ce"].weight == task
    assert type(found[name].loss) is kind is METHODS[name].loss
    assert found[name].on == "output"
    assert found[name].weight_at(1.0) == weight
    assert callable(found[name].weight) == (name in WARMED)


@pytest.mark.parametrize("name", sorted(WARMED))
def test_warmed_up_over_20_of_240_epochs(name: str) -> None:
    term, whole = terms(name)[name], PUBLISHED[name][1]
    for epoch, share in ((0, 0.0), (10, 0.5), (20, 1.0), (240, 1.0)):
        assert term.weight_at(epoch / 240) == pytest.approx(share * whole)


def test_settings_of_losses_are_the_published() -> None:
    assert (loss("dkd").alpha, loss("dkd").beta, loss("dkd").temperature) == (1, 8, 4)
    assert (loss("rld").alpha, loss("rld").beta, loss("rld").temperature) == (1, 8, 4)
    assert (loss("nkd").gamma, loss("nkd").temperature) == (1.5, 1)
    assert loss("wsld").temperature == 4
    assert (loss("dist").beta, loss("dist").gamma, loss("dist").temperature) == (1, 1, 4)
    assert isinstance(loss("lskd").loss, KD)
    assert loss("lskd").loss.temperature == 2
    assert (loss("mlkd").term, loss("mlkd").mask) == ("all", "none")
    assert loss("mlkd").temperature == (2, 3, 4, 5, 6)
    assert loss("ttm").gamma == loss("wttm").gamma == 0.1
    assert (loss("skd").term, loss("skd").mask) == ("all", "none")
    assert (loss("skd").temperature, loss("skd").tikhonov) == (4, 0.1)
    assert isinstance(loss("ctkd").loss, KD)
    assert (loss("ctkd").lowest, loss("ctkd").span, loss("ctkd").ramp) == (1, 20, 10 / 240)
    assert loss("luminet").temperature == 4


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - LABELLED))
def test_without_labels_the_loss_stays(name: str) -> None:
    setting = replace(SETTING, classes=None)
    assert list(terms(name, setting)) == [name]
    assert not objective(name, setting).needs("labels")


@pytest.mark.parametrize("name", sorted(LABELLED))
def test_a_loss_that_needs_labels_is_refused_without_them(name: str) -> None:
    assert objective(name).needs("labels")
    with pytest.raises(Fault, match=f"^{name} tells the label's class .* no labels") as caught:
        terms(name, replace(SETTING, classes=None))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_pairs_of_other_classes_are_refused(name: str) -> None:
    other = replace(SETTING, teacher={**TEACHER, "output": Size([2, 1000])})
    alone = replace(SETTING, teacher=None, teacher_says=None)
    for setting, message in (
        (other, "gives 10 logits and the teacher 1000 logits"),
        (AUTO, "gives a reconstruction"),
        (replace(SETTING, teacher_says="embedding"), "the teacher an embedding"),
        (replace(SETTING, same_classes=False), "of other classes"),
        (alone, "the teacher nothing"),
    ):
        with pytest.raises(Fault, match=f"^{name} compares logits .*{message}") as caught:
            terms(name, setting)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_tap_is_read_where_it_is_asked_for(name: str) -> None:
    as_wide = {"embedding": Size([2, 10])}
    pair = replace(SETTING, student={**STUDENT, **as_wide}, teacher={**TEACHER, **as_wide})
    assert terms(name, replace(pair, on="embedding"))[name].on == "embedding"
    with pytest.raises(Fault, match="this loss reads one layer"):
        terms(name, replace(SETTING, on="stages"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tap_that_gives_no_vectors_of_one_width_is_refused(name: str) -> None:
    alike = replace(SETTING, teacher=STUDENT, on="maps")
    for setting, given in (
        (replace(SETTING, on="embedding"), "'embedding' gives 12 of the student and 64 of the"),
        (alike, "'maps' gives 12x2x2 of the student and 12x2x2 of the teacher"),
    ):
        with pytest.raises(Fault, match=f"^{name} compares vectors of one width: {given}"):
            terms(name, setting)


@pytest.mark.parametrize("name", sorted(LABELLED))
def test_a_tap_without_a_number_for_every_class_is_refused(name: str) -> None:
    setting = replace(SETTING, teacher=STUDENT, on="embedding")
    with pytest.raises(Fault, match="'embedding' gives 12 numbers, and there are 10 classes"):
        terms(name, setting)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_tells_what_it_is_in_a_line(name: str) -> None:
    method = METHODS[name]
    assert method.family == "logits"
    assert method.summary.endswith((".", ")"))
    assert re.search(r"\d{4}", method.paper)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_teaches_the_student_and_what_learns_of_the_loss(name: str) -> None:
    student, teacher, batch = toys.student(), toys.teacher(), toys.batch()
    setting = Setting(
        shapes(student, batch.images[:2]),
        shapes(teacher.tapped, batch.images[:2]),
        "logits",
        "logits",
        samples=21,
        classes=toys.CLASSES,
    )
    (stage,) = METHODS[name](setting)
    distiller = Distiller(student, teacher, stage.objective)
    distiller.train()
    distiller.objective.at(0.5)
    before = toys.state(student)
    taught, told = toys.state(teacher), dict(stage.objective.named_parameters())
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    losses = distiller.losses(batch)
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert losses.total.isfinite()
    for key, parameter in told.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, key
    optimizer.step()
    changed = toys.state(student)
    assert not torch.equal(changed["network.fc.weight"], before["network.fc.weight"])
    assert not torch.equal(changed["network.conv.weight"], before["network.conv.weight"])
    assert toys.same(toys.state(teacher), taught)
    assert set(told) == ({"losses.ctkd.theta"} if name == "ctkd" else set())
