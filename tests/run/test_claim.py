"""A finished run is given back where its teachers are what they were, and not otherwise."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from relatum.recipes.recipe import Recipe
from relatum.record import WEIGHTS, Record
from relatum.run import run
from relatum.run.again import evaluate_again
from relatum.run.trained import on_disk, weights_of
from relatum.types import Fault


@pytest.fixture
def taught_by_two(recipe: Recipe, taught: Path, tmp_path: Path) -> tuple[Recipe, Record]:
    """A run by a table and a network, in the folder ``run``."""
    shutil.copytree(taught, tmp_path / "network")
    _save(tmp_path / "e.npy")
    text = f"table:{tmp_path}/e.npy,{tmp_path}/network"
    made = recipe.but(teacher=text, method="rrkd", epochs=1, samples=200)
    return made, run(made, tmp_path / "run")


def _save(path: Path, seed: int = 0, width: int = 5) -> None:
    rows = np.random.default_rng(seed).normal(size=(1797, width))
    np.save(path, rows.astype(np.float32))


def _change(path: Path) -> None:
    state = load_file(path)
    first = next(name for name, each in state.items() if each.is_floating_point())
    about = {"model": "digits-cnn-large"}
    save_file(state | {first: state[first] + 1}, path, about)


def test_several_teachers_that_are_the_same(
    taught_by_two: tuple[Recipe, Record], tmp_path: Path
) -> None:
    made, record = taught_by_two
    assert run(made, tmp_path / "run", resume=True) == record
    first, second = str(made.teacher).split(",")
    for text, what in (
        (f"{first},{second}=2", "weighed its teachers otherwise"),
        (second, "learnt from other teachers"),
        (f"{second},{first}", "learnt from another teacher"),
    ):
        with pytest.raises(Fault, match=rf"run holds a run that {what}; delete that folder, or"):
            run(made.but(teacher=text), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda folder: _save(folder / "e.npy", seed=1), "another table"),
        (lambda folder: _change(folder / "network" / WEIGHTS), "another teacher"),
    ],
)
def test_one_of_several_that_has_changed(
    change: Callable[[Path], None],
    what: str,
    taught_by_two: tuple[Recipe, Record],
    tmp_path: Path,
) -> None:
    change(tmp_path)
    with pytest.raises(Fault, match=f"holds a run that learnt from {what}"):
        run(taught_by_two[0], tmp_path / "run", resume=True)


def test_a_folder_may_have_an_at_sign(recipe: Recipe, taught: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sp@stage2" / "seed-0"
    shutil.copytree(taught, folder)
    wanted = ("digits-cnn-large", folder / WEIGHTS)
    for text in (str(folder), f"digits-cnn-large@{folder}"):
        assert on_disk(text) == wanted
        assert weights_of(text) == folder / WEIGHTS
    with pytest.raises(Fault, match="there is no file gone@place"):
        on_disk("digits-cnn-large@gone@place")
    made = recipe.but(teacher=f"digits-cnn-large@{folder}", epochs=1, samples=200)
    run(made, folder.parent / "run")
    moved = folder.parent.rename(tmp_path / "moved@place")
    found = evaluate_again(moved / "run")  # which finds seed-0 beside it
    assert found["gap_cosine"] > 0


def test_an_embedding_as_wide_as_there_are_classes_is_none_of_logits(
    recipe: Recipe, tmp_path: Path
) -> None:
    from relatum.run.pictured import PICTURED

    _save(tmp_path / "ten.npy", width=10)
    made = recipe.but(teacher=f"table:{tmp_path / 'ten.npy'}", epochs=1, samples=200)
    record = run(made, tmp_path / "run")
    assert record.teacher is not None
    assert record.teacher.metrics == {}
    assert "kept" not in record.metrics
    kept = load_file(tmp_path / "run" / PICTURED)
    assert "teacher_embedding" in kept
    assert not {"teacher_logits", "teacher_classes"} & set(kept)
