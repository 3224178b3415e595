"""Students to export, hardly trained: one for each kind that differs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.run import run

SHORT = Recipe(dataset="digits", student="digits-cnn-large", epochs=1, batch_size=128)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run by its name, made when it is asked for first."""
    top = tmp_path_factory.mktemp("runs")
    small = SHORT.but(student="digits-cnn-small", method="rrkd")

    def recipes(name: str) -> Recipe:
        teacher = str(found("teacher")) if name != "teacher" else ""
        return {
            "teacher": lambda: SHORT,
            "taught": lambda: small.but(teacher=teacher),
            "unlabelled": lambda: small.but(teacher=teacher, labels=False, epochs=0),
            "adopted": lambda: small.but(teacher=teacher, method="simkd", epochs=0),
            "timm": lambda: SHORT.but(student="timm/test_efficientnet", epochs=0),
            "timm, unlabelled": lambda: small.but(
                student="timm/test_efficientnet", teacher=teacher, labels=False, epochs=0
            ),
        }[name]()

    def found(name: str) -> Path:
        folder = top / name / "seed-0"
        if not (folder / "record.json").exists():
            run(recipes(name), folder, label=name)
        return folder

    return found


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the hub anything, nor knows its user's token."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN_PATH", os.devnull)
    monkeypatch.delenv("HF_TOKEN", raising=False)
