"""A teacher that is read wrongly is known by its mistakes, and what would mend them is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relatum.doctor.finding import Finding
from relatum.doctor.teacher import examine_rest, examine_teacher
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.prepare import Prepared, prepare
from relatum.teachers import Teacher
from relatum.types import Input

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    run(Recipe(student="digits-cnn-large", epochs=2), folder)
    return folder


@pytest.fixture
def ready(folder: Path) -> Prepared:
    return prepare(Recipe(method="sp", teacher=str(folder)), CPU)


def about(ready: Prepared, teacher: Teacher) -> dict[str, Finding]:
    pair = replace(ready.pair, teacher=teacher)
    return {each.check: each for each in examine_teacher(pair, ready.sets)}


def taught(ready: Prepared) -> Teacher:
    assert isinstance(ready.pair.teacher, Teacher)
    return ready.pair.teacher


def test_a_sound_teacher(ready: Prepared) -> None:
    found = about(ready, taught(ready))
    assert {each.level for each in found.values()} == {"ok"}
    assert found["teacher's accuracy"].text.startswith("digits-cnn-large: 9")


def test_a_wrong_normalisation_is_found(ready: Prepared) -> None:
    good = taught(ready).tapped
    bad = Teacher(good.network, good.taps, Input(mean=(3.0,), std=(0.05,)))
    before = bad.tapped.mean.clone(), bad.tapped.std.clone()
    found = about(ready, bad)["teacher's accuracy"]
    assert found.level in ("warning", "problem")
    assert "with the set's own mean and deviation it would be 9" in found.way_out
    assert (bad.tapped.mean, bad.tapped.std) == before


def test_classes_in_another_order_are_found(ready: Prepared) -> None:
    good = taught(ready).tapped
    order = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6, 9, 8])

    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = good.network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(images)
            return logits[:, order]

    found = about(ready, Teacher(Shuffled(), {}, good.input))["teacher's accuracy"]
    assert found.level == "problem"
    assert "its classes in another order (its 0 is this set's 1)" in found.way_out


def test_a_teacher_that_guesses(ready: Prepared) -> None:
    torch.manual_seed(3)
    network = create("digits-cnn-large", channels=1, size=8, classes=10)
    teacher = Teacher(network, taught(ready).tapped.taps, ready.sets.input)
    assert about(ready, teacher)["teacher's accuracy"].level == "problem"


def test_a_teacher_that_tells_nothing_apart(ready: Prepared) -> None:
    good = taught(ready).tapped
    with torch.no_grad():
        for each in good.network.parameters():
            each.zero_()
    assert about(ready, taught(ready))["teacher's embedding"].level == "problem"


def test_a_teacher_at_rest(ready: Prepared) -> None:
    assert examine_rest(ready.pair).level == "ok"
    network: Any = taught(ready).network
    next(network.parameters()).requires_grad_(True)
    assert examine_rest(ready.pair).level == "problem"
