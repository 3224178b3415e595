"""Files that are missing, damaged or of something else, and losses that are not finite."""

import functools
import gzip
import json
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from relatum.checkpoint import Interrupted, Saver, Stop
from relatum.cli import main
from relatum.recipes.standard import standard
from relatum.run import run
from tests.cli.shell import contents, distill

Refused = Callable[..., str]


def test_mnist_that_is_missing_or_damaged(here: Path, refused: Refused) -> None:
    arguments = ("teach", "--data", "mnist", "--data-root", "root", "--out", "out")
    assert "mnist is not here" in refused(*arguments)
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"]
    folder = here / "root" / "mnist"
    folder.mkdir(parents=True)
    whole = gzip.compress(bytes(5000))
    (folder / f"{names[0]}.gz").write_bytes(whole)
    assert f"no {names[1]}.gz" in refused(*arguments)
    for name in [*names, "t10k-labels-idx1-ubyte"]:
        (folder / f"{name}.gz").write_bytes(whole)
    line = refused(*arguments)
    assert "MD5 differs" in line
    assert names[0] in line
    (folder / f"{names[0]}.gz").write_bytes(whole[:-9])
    assert "truncated gzip" in refused(*arguments)
    assert not (here / "out").exists()


def test_folders_that_are_no_set(here: Path, refused: Refused) -> None:
    (here / "empty").mkdir()
    assert "holds no images" in refused("teach", "--data", "./empty")
    assert "no such folder" in refused("teach", "--data", "./absent")
    images = here / "images"
    images.mkdir()
    for number in range(9):
        Image.new("RGB", (12, 12), (number, 0, 0)).save(images / f"{number}.png")
    (images / "5.png").write_bytes((images / "5.png").read_bytes()[:40])
    line = refused("distill", "--data", "images/", "--method", "rrkd", "--no-baseline")
    assert "1 of 9 images of folder:images cannot be read: 5.png (" in line
    assert sorted(each.name for each in here.iterdir()) == ["empty", "images"]


def test_teachers_that_are_none(here: Path, teacher: Path, refused: Refused) -> None:
    unfinished = here / "unfinished"
    unfinished.mkdir()
    shutil.copy(teacher / "recipe.json", unfinished)
    weights = teacher / "student.safetensors"
    (here / "cut.safetensors").write_bytes(weights.read_bytes()[:-50])
    for text, word in {
        "nowhere": "no folder of a run and no file",
        "unfinished": "let it finish",
        ".": "no trained network",
        f"resnet8@{weights}": "of another network",
        f"digits-cnn-small@{weights}": "(16, 1, 3, 3) there and (3, 1, 3, 3) here",
        f"digits-cnn-large@{teacher}/record.json": "no file of plain tensors",
        "digits-cnn-large@nofile": "no file nofile",
        f"{teacher}/record.json": "no readable weights",
        "cut.safetensors": "no readable weights",
    }.items():
        line = refused("distill", "--teacher", text, "--epochs", 1, "--out", "out")
        assert word in line
    assert not (here / "out").exists()


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_pickle_runs_nothing(here: Path, refused: Refused, save: Callable[..., None]) -> None:
    save({"fc.weight": Evil()}, here / "evil.pt")
    line = refused("distill", "--teacher", "digits-cnn-small@evil.pt", "--epochs", 1)
    assert "not loaded" in line
    assert not (here / "executed").exists()


@pytest.fixture
def stopped(here: Path) -> Path:
    """A run that was stopped after its first step."""
    stop = Stop()
    stop.signum = signal.SIGTERM
    with pytest.raises(Interrupted):
        run(standard("digits")[0].but(epochs=1), here / "stopped", stop=stop)
    return here / "stopped"


def edited(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: state["learner"].update({"student.network.fc.weight": torch.zeros(3)}),
            ["another network", "fc.weight is (3,) there and (10, 64) here"],
        ),
        (
            lambda state: state["learner"].pop("student.network.fc.bias"),
            ["another network", "lacks 'student.network.fc.bias'"],
        ),
        (
            lambda state: state["about"].update(learning_rate=7.0),
            ["another run", "learning_rate: 7.0 there, 0.05 here"],
        ),
        (lambda state: state.pop("random"), ["no", "readable checkpoint", "delete it"]),
    ],
)
def test_a_checkpoint_of_another_run(
    stopped: Path, refused: Refused, change: Callable[[dict[str, Any]], Any], words: list[str]
) -> None:
    edited(stopped / "checkpoint.pt", change)
    before = contents(stopped)
    line = refused("teach", "--epochs", 1, "--out", stopped, "--resume")
    for word in ["checkpoint.pt", *words]:
        assert word in line
    assert contents(stopped) == before


def test_damaged_files_of_a_run(stopped: Path, teacher: Path, refused: Refused) -> None:
    checkpoint = stopped / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    line = refused("teach", "--epochs", 1, "--out", stopped, "--resume")
    assert "checkpoint.pt is not a readable checkpoint" in line
    assert "is missing" in refused("evaluate", stopped)
    shutil.copytree(teacher, stopped / "done")
    (stopped / "done" / "record.json").write_text("{")
    assert "damaged" in refused("evaluate", stopped / "done")
    assert "damaged" in refused("report", stopped / "done")
    (stopped / "recipe.json").write_text("{")
    assert "no JSON" in refused("teach", "--epochs", 1, "--out", stopped, "--resume")


def test_evaluate(here: Path, teacher: Path, refused: Refused) -> None:
    assert "no best epoch" in refused("evaluate", teacher, "--best")
    assert "'probes'" in refused("evaluate", teacher, "--probe", "liner")
    assert "nearest is 'mnist'" in refused("evaluate", teacher, "--data", "minst")
    assert list(here.iterdir()) == []


LATE = """
from torch import nn

class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, student, teacher):
        self.steps += self.training
        return student.square().mean() * (float("nan") if self.steps >= 30 else 1.0)
"""


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line of a command whose runs may have said something before."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_a_loss_that_becomes_nan(
    here: Path,
    teacher: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step and the term are named; the checkpoint before it stays, and can be loaded."""
    module = sys.modules["relatum.run.job"]
    monkeypatch.setattr(module, "Saver", functools.partial(Saver, pause=0.0))
    (here / "late.py").write_text(LATE)
    options = ("--method", "late.py:Late", "--epochs", 9, "--seed", 0, "--out", "out")
    line = failed(capsys, "distill", "--teacher", teacher, *options)
    assert "late.py-Late/seed-0: the loss is not a number since step 30 (epoch 2)" in line
    assert "'Late'" in line
    assert "lower the learning rate" in line
    assert (here / "out" / "none" / "seed-0" / "record.json").exists()
    folder = here / "out" / "late.py-Late" / "seed-0"
    assert not (folder / "record.json").exists()
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["position"] == {"epoch": 2, "step": 0}
    assert all(value.isfinite().all() for value in state["learner"].values())
    rows = [json.loads(each) for each in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1]


def test_a_learning_rate_that_is_too_high(
    here: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failed(capsys, *distill(teacher, "--method", "sp", "--set", "learning_rate=1e6"))
    assert "2 of 2 runs failed" in line
    assert "in term 'ce'" in line


def test_a_teacher_that_fails(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be run without it is counted, and the reason is the teacher's own."""
    large, small = standard("digits")
    bad = (large.but(learning_rate=1e9), small)
    monkeypatch.setattr("relatum.recipes.standard.standard", lambda *_, **__: bad)
    line = failed(capsys, "distill", "--method", "sp", "--seed", 0, "--epochs", 1, "--out", "out")
    assert "3 of 3 runs failed; teacher: the loss is" in line
