"""A student whose embedding nothing teaches is said to be one."""

from pathlib import Path

import pytest
import torch

from relatum.bench.experiment import Cell
from relatum.doctor import examine
from relatum.recipes.recipe import Recipe
from relatum.run import Silent, run

MESSAGE = "the embedding is made by layers that nothing teaches (neck)"
OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, channels, size, classes):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU())
        self.neck = nn.Linear(8, 6)
        self.fc = nn.Linear(6, classes)

    def forward(self, images):
        return self.fc(self.neck(self.layer2(self.layer1(images)).mean((2, 3))))
"""


class Hears(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "necked.py").write_text(OWN)
    return "necked.py:Net"


@pytest.mark.parametrize(
    ("method", "labels", "said"),
    [("sp", False, True), ("sp", True, False), ("sp+rrkd", False, False)],
)
def test_a_run_says_it_before_and_keeps_it(
    recipe: Recipe, student: str, method: str, labels: bool, said: bool
) -> None:
    hears = Hears()
    asked = recipe.but(student=student, method=method, labels=labels, epochs=1, samples=200)
    record = run(asked, Path("run"), display=hears)
    assert ("neck.weight" in record.idle) == said
    found = [note for note in record.notes if MESSAGE in note]
    assert [note for note in hears.notes if MESSAGE in note] == [f"note: {each}" for each in found]
    assert len(found) == said
    if said:
        assert found[0].endswith("add +rrkd, or use sp@embedding")


def test_the_doctor_warns(recipe: Recipe, student: str, tmp_path: Path) -> None:
    asked = recipe.but(student=student, labels=False, samples=200)
    levels: dict[str, list[str]] = {}
    size = ""
    for method in ("sp", "sp@embedding"):
        cell = Cell("m/seed-0", "m", asked.but(method=method))
        found = list(examine([cell], tmp_path / "out", device=torch.device("cpu")))
        size = next(each.text for each in found if each.check == "student")
        levels[method] = [each.level for each in found if each.check == "m: embedding"]
    assert levels == {"sp": ["warning"], "sp@embedding": []}
    assert "1.84 k multiply-adds an image" in size
