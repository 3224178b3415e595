"""What is measured again of a run, and what it says of few images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.hearing import Hearing
from relatum.run.networks import pair_of
from relatum.run.sets import sets_of
from relatum.run.watch import Watch
from tests.run.runs import CPU


def test_an_output_that_nothing_taught_is_not_measured_on_another_set(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(asked: Recipe, *rest: Any) -> Any:
        return sets_of(asked.but(dataset="digits"), *rest)

    monkeypatch.setattr("relatum.run.again.sets_of", other)
    found: dict[str, dict[str, float]] = {}
    for method in ("rrkd", "kd"):
        run(recipe.but(method=method, labels=False, epochs=1, samples=200), tmp_path / method)
        found[method] = evaluate_again(tmp_path / method, dataset="mnist")
    assert "agreement" in found["kd"]
    assert "agreement" not in found["rrkd"]
    assert "neighbours" in found["rrkd"]


@pytest.mark.parametrize(("images", "notes"), [(18, ["58.8 %"]), (300, [])])
def test_neighbours_by_chance(recipe: Recipe, images: int, notes: list[str]) -> None:
    sets = sets_of(recipe, CPU)
    sets = replace(sets, test=sets.test.take(torch.arange(images)))
    said = list(Watch(recipe, pair_of(recipe, sets, CPU), sets, Hearing()).notes(chosen=False))
    assert [note.partition("chance to ")[2] for note in said] == notes
