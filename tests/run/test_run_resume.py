"""A run that was stopped goes on to the same bits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from relatum.checkpoint import Interrupted
from relatum.methods import METHODS, Setting, Stage
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import run
from relatum.types import Fault
from tests.run.runs import Halts, equal, numbers


@pytest.mark.parametrize("method", ["rrd", "lp+kd"])
@pytest.mark.parametrize("after", [1, 11, 14, 33])
def test_it_goes_on_to_the_same_bits(
    recipe: Recipe, tmp_path: Path, after: int, method: str
) -> None:
    """11 steps an epoch: within the first, at its end, within the second, at the very end."""
    resumed(recipe.but(method=method, augment=("crop",), validation=0.02), tmp_path, after)


def resumed(recipe: Recipe, tmp_path: Path, *after: int) -> Record:
    recipe = recipe.but(epochs=3)
    whole = run(recipe, tmp_path / "whole")
    for steps in after:
        display = Halts(steps)
        with pytest.raises(Interrupted):
            run(recipe, tmp_path / "cut", resume=True, stop=display.stop, display=display)
        assert not (tmp_path / "cut" / "record.json").exists()
        torch.rand(3)
    record = run(recipe, tmp_path / "cut", resume=True)
    assert numbers(record) == numbers(whole)
    for name in ("student.safetensors", "best.safetensors", "relations.safetensors"):
        if (tmp_path / "whole" / name).exists():
            assert equal(tmp_path / "whole", tmp_path / "cut", name)
    return record


def test_it_may_be_stopped_again_and_again(recipe: Recipe, tmp_path: Path) -> None:
    resumed(recipe.but(method="rrd"), tmp_path, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("after", [5, 11, 13, 30])
def test_a_method_of_two_stages_goes_on_too(
    recipe: Recipe, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(setting: Setting) -> tuple[Stage, ...]:
        (first,), (last,) = METHODS["rrd"](setting), METHODS["sp"](setting)
        return replace(first, share=1 / 3), last

    monkeypatch.setitem(METHODS, "two", replace(METHODS["sp"], build=two))
    record = resumed(recipe.but(method="two"), tmp_path, after)
    assert [(row.stage, row.epoch) for row in record.rows] == [(0, 1), (1, 1), (1, 2), (1, 3)]


def test_a_checkpoint_of_another_teacher_is_refused(
    recipe: Recipe, tmp_path: Path, taught: Path
) -> None:
    display = Halts(3)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "run", stop=display.stop, display=display)
    network = create("digits-cnn-large", channels=1, size=8, classes=10)
    torch.save(network.state_dict(), tmp_path / "other.pth")
    other = recipe.but(teacher=f"digits-cnn-large@{tmp_path / 'other.pth'}")
    with pytest.raises(Fault, match=r"is of another run .teacher_sha256"):
        run(other, tmp_path / "run", resume=True)


def test_a_half_written_row_is_written_again(recipe: Recipe, tmp_path: Path) -> None:
    whole = run(recipe, tmp_path / "a")
    display = Halts(14)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "b", stop=display.stop, display=display)
    with (tmp_path / "b" / "metrics.jsonl").open("a") as file:
        file.write('{"stage": 0, "epoch": 2, "lo')
    assert numbers(run(recipe, tmp_path / "b", resume=True)) == numbers(whole)
