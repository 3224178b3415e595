"""Methods with heads or banks on the embedding: weights, whom they serve, a step of training."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Size, Tensor

from relatum.distiller import Distiller
from relatum.losses import CC, CRD, DCD, EGA, ITRD, KD, CrossEntropy, VkD
from relatum.methods import METHODS, Setting
from relatum.objective import Objective, Term
from relatum.taps import shapes
from relatum.types import Fault
from tests import toys
from tests.methods.settings import AUTO, SETTING, TEACHER

# name -> (loss, its weight), from the papers and their code
PUBLISHED: dict[str, tuple[type, float]] = {
    "cc": (CC, 0.02),
    "cc-rbf": (CC, 100.0),
    "crd": (CRD, 0.8),
    "dcd": (DCD, 1.0),
    "itrd": (ITRD, 1.0),
    "ega": (EGA, 1.0),
    "vkd": (VkD, 1.0),
}
PROJECTED = sorted(set(PUBLISHED) - {"cc-rbf"})


def objective(name: str, setting: Setting = SETTING) -> Objective:
    (stage,) = METHODS[name](setting)
    assert (stage.share, stage.only) == (1, None)
    return stage.objective


def terms(name: str, setting: Setting = SETTING) -> dict[str, Term]:
    return dict(objective(name, setting).terms)


def loss(name: str, setting: Setting = SETTING) -> Any:
    return terms(name, setting)[name].loss


@pytest.mark.parametrize("name", PUBLISHED)
def test_losses_and_weights_are_the_published(name: str) -> None:
    kind, weight = PUBLISHED[name]
    found = terms(name)
    assert list(found) == ["ce", name] + ["soft"] * (name == "vkd")
    assert isinstance(found["ce"].loss, CrossEntropy)
    assert found["ce"].weight == 1
    assert type(found[name].loss) is kind is METHODS[name].loss
    assert (found[name].on, found[name].weight) == ("embedding", weight)


def test_settings_of_losses_are_the_published() -> None:
    assert loss("cc").kind == "adjacent"
    assert loss("cc").teacher_head.weight.shape == (128, 64)
    assert (loss("cc-rbf").kind, loss("cc-rbf").gamma, loss("cc-rbf").order) == ("rbf", 0.4, 2)
    assert not list(loss("cc-rbf").parameters())
    assert (loss("crd").negatives, loss("crd").temperature, loss("crd").momentum) == (
        16384,
        0.07,
        0.5,
    )
    assert loss("crd").student_memory.shape == (50_000, 128)
    assert loss("dcd").consistency_weight == 0.5
    assert loss("itrd").student_head.weight.shape == (64, 12)
    assert (loss("itrd").correlation_weight, loss("itrd").mutual_weight) == (2, 0.05)
    assert loss("ega").student_head.weight.shape == (64, 12)
    assert loss("vkd").normalisation == "layer"
    soft = terms("vkd")["soft"]
    assert isinstance(soft.loss, KD)
    assert (soft.loss.temperature, soft.weight, soft.on) == (1.0, 1.0, "output")


@pytest.mark.parametrize(
    ("samples", "labels", "negatives"),
    [
        (50_000, torch.arange(50_000) % 100, 16384),
        (16_000, None, 15_999),
        (60, torch.arange(60) % 10, 54),
        (60, torch.cat([torch.zeros(50), torch.ones(10)]).long(), 10),
    ],
    ids=["cifar", "unlabelled", "small", "unbalanced"],
)
def test_a_small_set_has_fewer_negatives(
    samples: int, labels: Tensor | None, negatives: int
) -> None:
    made = loss("crd", replace(SETTING, samples=samples, labels=labels))
    assert made.negatives == negatives
    assert (made.labels is None) == (labels is None)


@pytest.mark.parametrize("labels", [torch.zeros(60, dtype=torch.long), None])
def test_crd_needs_somebody_to_tell_a_sample_from(labels: Tensor | None) -> None:
    samples = 1 if labels is None else 60
    with pytest.raises(Fault, match="nothing to tell it from"):
        terms("crd", replace(SETTING, samples=samples, labels=labels))


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_labels_the_loss_stays(name: str) -> None:
    setting = replace(SETTING, classes=None, labels=None)
    assert "ce" not in terms(name, setting)
    assert not objective(name, setting).needs("labels")
    assert list(terms(name, AUTO)) == [name]


def test_vkd_is_soft_only_over_shared_classes() -> None:
    other = replace(SETTING, teacher={**TEACHER, "output": Size([2, 1000])})
    assert list(terms("vkd", other)) == ["ce", "vkd"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_crd_asks_which_sample_is_which(name: str) -> None:
    assert objective(name).needs("indices") == (name == "crd")


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_tap_is_read_where_it_is_asked_for(name: str) -> None:
    assert terms(name, replace(SETTING, on="output"))[name].on == "output"
    with pytest.raises(Fault, match="this loss reads one layer"):
        terms(name, replace(SETTING, on="stages"))


def test_maps_are_refused_by_linear_heads_and_served_without() -> None:
    maps = replace(SETTING, on="maps")
    for name in PROJECTED:
        with pytest.raises(Fault, match="projects vectors, and 'maps' gives maps") as caught:
            terms(name, maps)
        assert "\n" not in str(caught.value)
    assert terms("cc-rbf", maps)["cc-rbf"].on == "maps"


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_tells_what_it_is_in_a_line(name: str) -> None:
    method = METHODS[name]
    assert method.family == "embedding"
    assert method.summary.endswith((".", ")"))
    assert re.search(r"arXiv \d{4}\.\d{5}", method.paper)


@pytest.mark.parametrize("width", [4, 6], ids=["equal widths", "unequal widths"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_teaches_the_student_and_what_learns_of_the_loss(name: str, width: int) -> None:
    student, teacher, batch = toys.student(), toys.teacher(width=width), toys.batch()
    setting = Setting(
        shapes(student, batch.images[:2]),
        shapes(teacher.tapped, batch.images[:2]),
        "logits",
        "logits",
        samples=21,
        classes=toys.CLASSES,
        labels=torch.arange(21) % toys.CLASSES,
    )
    torch.manual_seed(0)
    (stage,) = METHODS[name](setting)
    distiller = Distiller(student, teacher, stage.objective)
    assert not distiller.rest(batch)
    distiller.train()
    before, taught = toys.state(student), toys.state(teacher)
    told = {n: p for n, p in stage.objective.named_parameters() if p.requires_grad}
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
