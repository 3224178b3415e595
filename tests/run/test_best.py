"""The best epoch: chosen by validation, never by test, and not what counts."""

from pathlib import Path

import pytest
import torch

from relatum.data import Batches
from relatum.evaluate import accuracy, collect
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.prepare import prepare
from relatum.weights import load_weights
from tests.run.runs import CPU, equal, weights, wrong


def test_without_validation_there_is_no_best(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(epochs=1), tmp_path)
    assert record.best_epoch is None
    assert not (tmp_path / "best.safetensors").exists()
    assert not any(name.startswith(("best_", "validation_")) for name in record.metrics)
    assert record.rows[0].metrics == {}


def shaky(recipe: Recipe) -> Recipe:
    return recipe.but(validation=0.1, epochs=6, learning_rate=0.4, schedule="constant")


def test_the_best_is_chosen_by_validation_and_never_by_test(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shaky(recipe)
    record = run(recipe, tmp_path / "a")
    course = [row.metrics["validation_top1"] for row in record.rows]
    best = record.best_epoch
    assert best == course.index(max(course)) + 1
    assert best is not None
    # the weights are those after that epoch, and its metrics are theirs
    short = run(recipe.but(epochs=best), tmp_path / "short")
    kept, last = weights(tmp_path / "a", "best.safetensors"), weights(tmp_path / "short")
    assert all(torch.equal(kept[name], last[name]) for name in last)
    assert record.metrics["best_top1"] == short.metrics["top1"]
    with monkeypatch.context() as patch:
        wrong(patch, "test")
        other = run(recipe, tmp_path / "b")
    assert other.best_epoch == best
    assert other.metrics["top1"] != record.metrics["top1"]
    assert equal(tmp_path / "a", tmp_path / "b", "best.safetensors")


def test_the_last_epoch_is_what_counts(recipe: Recipe, tmp_path: Path) -> None:
    recipe = shaky(recipe)
    record = run(recipe, tmp_path)
    ready = prepare(recipe, CPU)
    load_weights(ready.pair.student.network, tmp_path / "student.safetensors")
    part = Batches(ready.sets.test, 359).epoch(0)
    said = collect(ready.pair.student, part)
    assert said.labels is not None
    assert record.metrics["top1"] == accuracy(said.values["output"], said.labels)["top1"]


def test_validation_is_cut_from_the_training_part(recipe: Recipe) -> None:
    whole = prepare(recipe, CPU).sets
    parts = prepare(recipe.but(validation=0.1), CPU).sets
    assert parts.validation is not None
    assert len(parts.train) + len(parts.validation) == len(whole.train)
    assert torch.equal(parts.test.images, whole.test.images)
    assert sorted(map(hash_of, (*parts.train.images, *parts.validation.images))) == sorted(
        map(hash_of, whole.train.images)
    )
    other = prepare(recipe.but(validation=0.1, seed=5), CPU).sets
    assert torch.equal(other.train.images, parts.train.images)  # the seed does not cut


def hash_of(image: torch.Tensor) -> bytes:
    return image.numpy().tobytes()
