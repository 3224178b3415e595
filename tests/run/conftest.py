from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.run import run

TEACHER = Recipe(
    dataset="digits", student="digits-cnn-large", epochs=1, batch_size=128, learning_rate=0.1
)


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a teacher of the digits, hardly trained."""
    folder = tmp_path_factory.mktemp("teacher")
    run(TEACHER, folder)
    return folder


@pytest.fixture
def recipe(taught: Path) -> Recipe:
    """A short training of a student by that teacher."""
    return TEACHER.but(student="digits-cnn-small", method="rrkd", teacher=str(taught), epochs=2)
