"""Weights know what their classes are called, whatever characters a name has."""

from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.sets import sets_of
from relatum.run.trained import trained
from relatum.weights import about_weights, save_weights
from tests.datasets.test_folder import paint
from tests.run.runs import CPU


def test_a_name_of_two_lines_is_one_name(tmp_path: Path) -> None:
    for red in range(12):
        paint(tmp_path / "set" / ("one\nline", "ü", "[]")[red % 3] / f"{red}.png", red)
    small = {"image_size": 8, "batch_size": 4, "epochs": 1}
    teacher = Recipe.of({"dataset": f"folder:{tmp_path / 'set'}", **small})
    run(teacher, tmp_path / "teacher")
    assert trained(str(tmp_path / "teacher"), sets_of(teacher, CPU)).classes == (
        *("[]", "one\nline", "ü"),
    )
    run(teacher.but(teacher=str(tmp_path / "teacher"), method="kd"), tmp_path / "student")


@pytest.mark.parametrize(("text", "names"), [("a\nb", ("a", "b")), ("0", ("0",)), ("", None)])
def test_older_files_have_a_line_for_each(
    taught: Path, recipe: Recipe, tmp_path: Path, text: str, names: tuple[str, ...] | None
) -> None:
    sets = sets_of(recipe, CPU)
    about = about_weights(taught / "student.safetensors") | {"class_names": text}
    save_weights(trained(str(taught), sets).network, tmp_path / "old.safetensors", about)
    assert trained(str(tmp_path / "old.safetensors"), sets).classes == names
