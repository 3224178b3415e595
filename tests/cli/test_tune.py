"""``relatum tune``: what it refuses, and a small search from its start to the best recipe."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe

pytest.importorskip("optuna")
Refused = Callable[..., str]
RATE = ("--search", "learning_rate=log(0.01,0.3)")


def test_a_search_and_its_end(
    here: Path, teacher: Path, does: Callable[..., str], refused: Refused
) -> None:
    tune = ["tune", "digits", "--teacher", teacher, "--method", "sp", "--epochs", 1, "--batch", 256]
    tune += ["--out", "out", *RATE, "--search", "sp.weight=log(1,1e4)"]
    said = does(*tune, "--trials", 2)
    best = Recipe.read(here / "out" / "best" / "recipe.json")
    assert best.validation == 0
    assert best.method.startswith("sp=")
    command = "relatum distill --recipe out/best/recipe.json --seeds 5 --out out/final"
    assert command in said
    assert sorted(path.name for path in (here / "out" / "trials").iterdir()) == ["000", "001"]
    assert "holds a search already" in refused(*tune, "--trials", 3)
    assert "holds another search" in refused(
        *tune, "--trials", 4, "--resume", "--search", "momentum=0.5..0.9"
    )
    unjudged = ("--no-labels", "--set", "watch=agreement", "--set", "best_by=agreement")
    assert "no trial can be judged by agreement" in refused(*tune, "--overwrite", *unjudged)
    assert "give one of them" in refused(*tune, "--overwrite", "--resume")
    does(*tune, "--trials", 3, "--resume")  # what was refused deleted nothing
    assert len(list((here / "out" / "trials").iterdir())) == 3


def test_a_search_is_replaced_with_its_teacher(here: Path, does: Callable[..., str]) -> None:
    tune = ("tune", "digits", "--epochs", 1, "--out", "out", *RATE, "--trials", 1, "--set")
    does(*tune, "samples=200")
    does(*tune, "samples=100", "--overwrite")
    for file in ("teacher/recipe.json", "best/recipe.json"):
        assert Recipe.read(here / "out" / file).samples == 100
    does(*tune, "samples=100", "--overwrite", "--teacher", "out/teacher")  # and one given is kept
    assert (here / "out" / "teacher" / "student.safetensors").exists()


def test_a_recipe_is_run_with_several_seeds(here: Path, does: Callable[..., str]) -> None:
    recipe = Recipe(epochs=0, method="none")
    Path("recipe.json").write_text(recipe.model_dump_json())
    does("distill", "--recipe", "recipe.json", "--seeds", "1,2", "--out", "out")
    runs = sorted((here / "out").glob("*/seed-*/record.json"))
    assert [path.parent.name for path in runs] == ["seed-1", "seed-2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is searched"),
        ((*RATE, "--trials", 0), "at least 1"),
        ((*RATE, "--method", "sp,kd"), "one method is tuned at a time"),
        ((*RATE, "--epochs", 0), "has no epochs"),
        ((*RATE, "--set", "validation=0"), "--set validation=0.1"),
        (("--search", "rate=1..2"), "no such field"),
        (("--search", "kd.temperature=0..2"), "temperature"),
        ((*RATE, "--seed", 4, "--set", "seed=3"), "use --seed"),
        ((*RATE, "--recipe", "nowhere.json"), "cannot read the recipe"),
    ],
)
def test_what_is_refused(
    here: Path, teacher: Path, refused: Refused, arguments: tuple[object, ...], said: str
) -> None:
    assert said in refused("tune", "digits", "--teacher", teacher, *arguments)
    assert not list(here.iterdir())


def test_without_the_package(
    here: Path, teacher: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert "relatum[tune]" in refused("tune", "--teacher", teacher, *RATE)
    assert not list(here.iterdir())
