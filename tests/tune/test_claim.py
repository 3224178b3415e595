"""A search that is replaced goes whole, and nothing goes with it that is somebody else's."""

from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.tune.claim import clear
from relatum.types import Fault
from relatum.weights import write

optuna = pytest.importorskip("optuna")


def study(address: str, name: str, *places: Path) -> None:
    made = optuna.create_study(study_name=name, storage=address)
    for place in places:
        made.ask().set_user_attr("place", str(place.resolve()))


def names(address: str) -> set[str]:
    return set(optuna.get_all_study_names(address))


def run_in(folder: Path) -> None:
    write(folder / "recipe.json", Recipe().model_dump_json().encode())


def test_what_tested_the_best_recipe_goes_and_a_teacher_stays(tmp_path: Path) -> None:
    run_in(tmp_path / "final" / "sp" / "seed-0")
    run_in(tmp_path / "teacher")
    (tmp_path / "final" / "notes.txt").touch()
    (tmp_path / "study.db").touch()
    clear(tmp_path)
    left = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert left == {"teacher/recipe.json", "final/notes.txt"}


def test_runs_of_something_else_are_not_deleted(tmp_path: Path) -> None:
    run_in(tmp_path / "final" / "another" / "sp" / "seed-0")
    (tmp_path / "study.db").touch()
    with pytest.raises(Fault, match="more than one experiment"):
        clear(tmp_path)
    assert (tmp_path / "study.db").exists()


def test_of_a_shared_database_its_own_search_goes(tmp_path: Path) -> None:
    address, out = f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "out"
    study(address, "out", out)
    study(address, "other", out)
    clear(out, address)
    assert names(address) == {"other"}
    clear(out, address)  # and there is none any more


def test_a_search_that_others_are_at_stays(tmp_path: Path) -> None:
    address, out = f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "here" / "out"
    study(address, "out", out, tmp_path / "there" / "out")
    run_in(out / "final" / "sp" / "seed-0")
    with pytest.raises(Fault, match="there/out too"):
        clear(out, address)
    assert names(address) == {"out"}
    assert (out / "final" / "sp" / "seed-0" / "recipe.json").exists()
