"""Accuracy on the test images after every epoch: noted, labelled, and without effect."""

from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.report.table import METRICS, PRIMARY
from relatum.run import run
from tests.run.runs import equal, numbers


def test_every_epoch_is_watched_and_the_best_is_labelled(recipe: Recipe, tmp_path: Path) -> None:
    shaky = recipe.but(watch_test=True, epochs=4, learning_rate=0.4, schedule="constant")
    record = run(shaky, tmp_path)
    seen = [row.metrics["test_top1"] for row in record.rows]
    assert len(seen) == 4
    assert seen[-1] == pytest.approx(record.metrics["top1"])
    assert record.metrics["best_on_test_top1"] == max(seen)
    assert record.best_epoch is None
    assert not (tmp_path / "best.safetensors").exists()


def test_it_changes_nothing_else(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(validation=0.2, method="rrd", augment=("crop",))
    plain = run(recipe, tmp_path / "plain")
    watched = run(recipe.but(watch_test=True), tmp_path / "watched")
    for name in ("student.safetensors", "best.safetensors"):
        assert equal(tmp_path / "plain", tmp_path / "watched", name)
    found = numbers(watched)
    assert found["metrics"].pop("best_on_test_top1")
    for row in found["rows"]:
        assert row["metrics"].pop("test_top1")
    assert found == numbers(plain)


def test_no_table_ranks_by_it() -> None:
    assert "best_on_test_top1" not in {metric.name for metric in (*METRICS, *PRIMARY)}


def test_without_classes_to_tell_there_is_nothing_to_watch(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(watch_test=True, labels=False, epochs=1), tmp_path)
    assert not any("test_top1" in row.metrics for row in record.rows)
    assert "best_on_test_top1" not in record.metrics
