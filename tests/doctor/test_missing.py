"""A teacher that cannot be had is one line, and what can be looked at without it is."""

from pathlib import Path

import torch

from relatum.bench.experiment import Cell
from relatum.doctor import Finding, examine
from relatum.recipes.recipe import Recipe


def found(teacher: str, out: Path) -> list[Finding]:
    recipe = Recipe(method="sp", teacher=teacher, epochs=1, samples=64, batch_size=16)
    return list(examine([Cell("sp/seed-0", "sp", recipe)], out, device=torch.device("cpu")))


def test_weights_that_cannot_be_fetched_are_stood_in_for(tmp_path: Path) -> None:
    said = found("digits-cnn-large:pretrained", tmp_path)
    (problem,) = (each for each in said if each.level == "problem")
    assert problem.check == "teacher"
    assert "random weights" in problem.way_out
    texts = {each.check: each.text for each in said}
    assert texts["teacher's accuracy"] == "its weights are missing, so there is none"
    assert "sp: term sp" in texts
    assert all(part in texts["time"] for part in ("steps", "evaluation", "beginning"))


def test_without_any_teacher_the_student_alone_is_looked_at(tmp_path: Path) -> None:
    said = found("nowhere", tmp_path)
    assert [each.check for each in said if each.level == "problem"] == ["teacher"]
    checks = {each.check for each in said}
    assert "none: steps" in checks
    assert "sp: term sp" not in checks
