"""What options ask for becomes runs, in folders of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from relatum.cli import app
from relatum.cli.runs import Asked, cells_of
from relatum.types import Fault

Refused = Callable[..., str]


def options_of(command: str) -> set[str]:
    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {text for each in found.params for text in each.opts}


def test_what_is_asked_for_is_a_teacher_and_students() -> None:
    asked = Asked(method="sp,kd", seeds="2", samples=300, epochs=3, set_=["validation=0.1"])
    teacher, *students = cells_of(asked)
    assert (teacher.folder, teacher.recipe.samples, teacher.recipe.validation) == (
        "teacher",
        300,
        0.1,
    )
    assert [each.folder for each in students] == [
        f"{name}/seed-{seed}" for seed in (0, 1) for name in ("none", "sp", "kd")
    ]
    assert {each.recipe.teacher for each in students} == {"runs/digits/teacher"}
    assert {each.recipe.epochs for each in (teacher, *students)} == {3}


def test_a_recipe_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(
        cells_of(Asked(seed=4))[-1].recipe.but(method="kd(temperature=2)").model_dump_json()
    )
    asked = Asked(recipe=file, epochs=2)
    (only,) = cells_of(asked)
    assert (only.recipe.seed, only.recipe.epochs) == (4, 2)
    assert only.recipe.method == "kd(temperature=2)"
    assert asked.folder.name.startswith("kd-temperature=2-")


def test_two_methods_do_not_share_a_folder() -> None:
    with pytest.raises(Fault, match="would share the folder"):
        cells_of(Asked(method="sp@a:b,sp@a-b", teacher="digits-cnn-large"))


def test_the_set_is_named_by_an_argument_or_an_option(here: Path, refused: Refused) -> None:
    for command in ("distill", "doctor", "bench", "tune", "teach"):
        assert {"dataset", "--data"} <= options_of(command)
    assert "named twice" in refused("distill", "digits", "--data", "mnist")
    assert "no effect beside it" in refused("distill", "digits", "--recipe", _recipe(here))


def test_distill_and_bench_take_each_others_words() -> None:
    shared = {"--method", "--methods", "--seed", "--seeds", "--epochs", "--samples", "--batch"}
    for command in ("distill", "bench"):
        assert shared <= options_of(command)


def _recipe(folder: Path) -> Path:
    file = folder / "recipe.json"
    file.write_text("{}")
    return file
