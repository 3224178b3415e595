"""A method that puts another network in the student's place, from training to use."""

from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.weights import about_weights


def test_a_student_with_its_teachers_classifier(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(method="simkd"), tmp_path / "run")
    assert "top1" in record.metrics
    assert not any(name.startswith("classifier") for name in record.idle)
    weights = about_weights(tmp_path / "run" / "student.safetensors")
    assert weights["model"] == "simkd(digits-cnn-small,digits-cnn-large)"
    alone = run(recipe.but(method="none", teacher=None), tmp_path / "alone")
    assert record.parameters > alone.parameters, "its projector is counted"
    again = evaluate_again(tmp_path / "run")
    assert again["top1"] == pytest.approx(record.metrics["top1"])


def test_it_teaches_in_turn(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe.but(method="simkd"), tmp_path / "run")
    record = run(recipe.but(method="kd", teacher=str(tmp_path / "run")), tmp_path / "taught")
    assert record.teacher is not None
    assert record.teacher.name == "simkd(digits-cnn-small,digits-cnn-large)"
