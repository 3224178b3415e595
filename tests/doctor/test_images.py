"""What is looked at of the images."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from relatum.data import Resident
from relatum.doctor.images import examine_brightness, examine_images
from relatum.recipes.recipe import Recipe
from relatum.run.sets import Sets, sets_of
from relatum.taps import Tapped
from relatum.types import Input


@pytest.fixture(scope="module")
def sets() -> Sets:
    return sets_of(Recipe(validation=0.1), torch.device("cpu"))


def found(sets: Sets, **parts: Any) -> dict[str, tuple[str, str]]:
    return {each.check: (each.level, each.text) for each in examine_images(replace(sets, **parts))}


def some(data: Any, which: torch.Tensor) -> Resident:
    assert isinstance(data, Resident)
    return data.take(which)


def test_a_sound_set(sets: Sets) -> None:
    said = found(sets)
    assert {level for level, _ in said.values()} == {"ok"}
    assert said["images"][1] == "digits: 1,294 train, 144 validation, 359 test, 1x8x8, 10 classes"


def test_images_that_are_in_both_parts(sets: Sets) -> None:
    assert isinstance(sets.test, Resident)
    first = some(sets.train, torch.arange(7))
    both = Resident(
        torch.cat([sets.test.images, first.images]),
        torch.cat([sets.test.labels, first.labels]),  # type: ignore[list-item]
    )
    level, text = found(sets, test=both)["duplicates"]
    assert (level, text.startswith("7 of 366 test images")) == ("warning", True)
    assert found(sets, test=sets.train)["duplicates"][0] == "problem"
    changed = both.images.clone()
    changed[-7:, 0, 0, 0] ^= 1
    assert found(sets, test=Resident(changed, both.labels))["duplicates"][0] == "ok"


def test_classes_that_are_rare_or_absent(sets: Sets) -> None:
    labels = sets.train.labels
    assert labels is not None
    absent = some(sets.train, (labels != 3).nonzero().flatten())
    level, text = found(sets, train=absent)["classes, train"]
    assert (level, text) == ("warning", "no image of 1 classes (3)")
    threes = (labels == 3).nonzero().flatten()[:5]
    rare = some(sets.train, torch.cat([threes, (labels != 3).nonzero().flatten()]))
    level, text = found(sets, train=rare)["classes, train"]
    assert level == "warning"
    assert text.startswith("5 to ")
    unlabelled = sets.train.unlabelled()
    assert "classes, train" not in found(sets, train=unlabelled, classes=())


@pytest.mark.parametrize(
    ("mean", "std", "level"),
    [
        ((0.3,), (0.37,), "ok"),
        ((0.0,), (1.0,), "ok"),
        ((0.3,), (0.01,), "warning"),
        ((0.0,), (1 / 255,), "warning"),
        ((5.0,), (0.4,), "warning"),
    ],
)
def test_how_bright_a_network_sees_them(
    sets: Sets, mean: tuple[float, ...], std: tuple[float, ...], level: str
) -> None:
    tapped = Tapped(torch.nn.Identity(), {}, Input(mean=mean, std=std))
    assert examine_brightness("teacher", tapped, sets).level == level
