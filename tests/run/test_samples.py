"""Training on some of the images: which they are, and what is said of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from relatum.data import Resident
from relatum.data.image_set import ImageSet
from relatum.datasets import Dataset
from relatum.recipes.recipe import Recipe
from relatum.run import run, sets
from relatum.run.sets import Sets, sets_of
from relatum.types import Fault
from tests.run.runs import CPU

COUNTS = (40, 3, 17)
"""Images of each class of a lopsided set."""


@pytest.fixture
def uneven() -> Dataset:
    labels = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    images = torch.arange(60).to(torch.uint8).view(60, 1, 1, 1).expand(60, 1, 2, 2).contiguous()
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    data = Resident(images, labels[shuffled])
    return Dataset("lopsided", data, data, tuple("abc"), (0.5,), (0.5,), note="made up")


@pytest.fixture
def lopsided(uneven: Dataset, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(sets, "load", lambda *_, **__: uneven)
    monkeypatch.setattr(sets, "_loaded", {})
    return Recipe(dataset="lopsided")


def drawn(recipe: Recipe) -> Sets:
    return sets_of(recipe, CPU)


def who(data: ImageSet) -> list[int]:
    """Which images these are."""
    assert isinstance(data, Resident)
    return data.images[:, 0, 0, 0].tolist()


def counts(data: ImageSet) -> list[int]:
    assert data.labels is not None
    return data.labels.bincount(minlength=3).tolist()


@pytest.mark.parametrize(
    ("samples", "wanted"), [(1, 1), (3, [1, 1, 1]), (9, [3, 3, 3]), (23, [10, 3, 10]), (60, COUNTS)]
)
def test_classes_are_as_even_as_they_can_be(
    lopsided: Recipe, samples: int, wanted: int | list[int]
) -> None:
    found = counts(drawn(lopsided.but(samples=samples)).train)
    assert sum(found) == samples
    if samples > 1:
        assert found == list(wanted)  # type: ignore[arg-type]


def test_they_keep_the_order_of_the_set_and_are_each_there_once(lopsided: Recipe) -> None:
    found = who(drawn(lopsided.but(samples=20)).train)
    assert found == sorted(set(found))


def test_more_hold_fewer_and_another_seed_draws_others(lopsided: Recipe) -> None:
    few, many = (set(who(drawn(lopsided.but(samples=each)).train)) for each in (10, 30))
    assert few < many
    other = set(who(drawn(lopsided.but(samples=10, split_seed=1)).train))
    assert other != few
    assert set(who(drawn(lopsided.but(samples=10, seed=9)).train)) == few


def test_the_test_and_validation_parts_stay(lopsided: Recipe) -> None:
    whole = drawn(lopsided.but(validation=0.2))
    part = drawn(lopsided.but(validation=0.2, samples=10))
    assert whole.validation is not None
    assert part.validation is not None
    assert who(part.validation) == who(whole.validation)
    assert set(who(part.train)) < set(who(whole.train))
    assert len(part.test) == 60
    assert part.samples == {"train": 10, "validation": 12, "test": 60}


def test_labels_that_may_not_be_used_choose_nothing(
    lopsided: Recipe, uneven: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = lopsided.but(samples=20, labels=False)
    before = who(drawn(blind).train)
    assert uneven.train.labels is not None
    other = replace(uneven, train=Resident(uneven.train.images, 2 - uneven.train.labels))
    monkeypatch.setattr(sets, "load", lambda *_, **__: other)
    sets._loaded.clear()
    assert who(drawn(blind).train) == before
    assert "of each class" not in drawn(blind).note


def test_more_than_there_are_is_refused(lopsided: Recipe) -> None:
    with pytest.raises(Fault, match=r"61 samples are more than the 60 .*at most 60"):
        drawn(lopsided.but(samples=61))


def test_what_was_trained_on_is_said(lopsided: Recipe) -> None:
    even, uneven = (drawn(lopsided.but(samples=each)).note for each in (9, 11))
    assert even == "made up; trained on 9 of 60 images, drawn by split_seed 0, 3 of each class"
    assert uneven.endswith("3 to 4 of each class")


def test_a_run_records_it(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(samples=256, epochs=1), tmp_path)
    assert record.samples["train"] == 256
    assert record.steps == 2
    assert any("trained on 256 of 1,438 images" in note for note in record.notes)
