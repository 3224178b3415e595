"""Folders that are taken, and what is refused before they are touched."""

from importlib import import_module
from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import run
from relatum.types import Fault


def test_a_run_is_not_overwritten_unasked(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(epochs=1)
    run(recipe, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Fault, match="holds a run already; go on with it by --resume"):
        run(recipe, tmp_path)
    with pytest.raises(Fault, match=r"\(epochs: 1 there, 2 asked for\); its learning"):
        run(recipe.but(epochs=2), tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_finished_run_is_only_read(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.but(epochs=1)
    record = run(recipe, tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("prepared")

    # the package's function hides its module of the same name
    monkeypatch.setattr(import_module("relatum.run.job"), "prepare", never)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    moved = recipe.but(teacher="/moved/elsewhere", data_root="/other")
    assert run(moved, tmp_path, resume=True) == record
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_overwriting_replaces_and_leaves_strangers(recipe: Recipe, tmp_path: Path) -> None:
    run(recipe.but(epochs=1, validation=0.1), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    record = run(recipe.but(epochs=1, seed=3), tmp_path, overwrite=True)
    assert Record.load(tmp_path) == record
    assert record.recipe.seed == 3
    assert not (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_that_is_refused_overwrites_nothing(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(epochs=1), tmp_path)
    for wrong in ({"teacher": "nobody"}, {"method": "rrd@maps"}, {"student": "resnet9"}):
        with pytest.raises(Fault):
            run(recipe.but(**wrong), tmp_path, overwrite=True)
    assert Record.load(tmp_path) == record


@pytest.mark.parametrize("method", ["rrkd@stages", "kd@maps", "rrd@maps", "rkd@maps&embedding"])
def test_a_tap_that_does_not_suit_a_loss_is_one_line(
    recipe: Recipe, tmp_path: Path, method: str
) -> None:
    with pytest.raises(Fault) as caught:
        run(recipe.but(method=method), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
