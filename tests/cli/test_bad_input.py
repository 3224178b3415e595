"""What a user can get wrong: one line that says how to mend it, exit code 2, nothing touched."""

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

Refused = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def distill(teacher: Path, *more: object) -> list[object]:
    return ["distill", "--teacher", teacher, "--epochs", 1, "--seed", 0, "--out", "out", *more]


# ------------------------------------------------------------------ names and options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("distil", ["No such command 'distil'", "'distill'", "relatum --help"]),
        ("distill --sed 1", ["--sed", "--seed", "relatum distill --help"]),
        ("distill --epochs", ["--epochs", "requires an argument"]),
        ("distill --epochs two", ["--epochs", "integer"]),
        ("distill stray", ["stray"]),
        ("evaluate", ["Missing argument", "run"]),
        ("list", ["Missing argument", "kind"]),
        ("list modles", ["methods, models, datasets, recipes", "'modles'"]),
        ("reproduce rrkd/mnist", ["'rrkd/mnist'", "rrkd/mnist-"]),
        ("reproduce rrkd/mnist-anchors --scale 0", ["--scale", "0"]),
        ("reproduce rrkd/mnist-anchors --variant fare", ["authors or fair", "'fare'"]),
        ("report nowhere", ["nowhere", "no finished run"]),
        ("evaluate nowhere", ["nowhere", "no finished run"]),
        ("distill --data minst", ["'minst'", "nearest is 'mnist'"]),
        ("distill --student digts-cnn-small", ["'digts-cnn-small'", "digits-cnn-small"]),
        ("distill --student timm/resnet1", ["'resnet1'", "resnet18"]),
        ("distill --student torchvision/resnet18", ["3 channels", "timm/NAME"]),
        ("distill --student timm/vit_tiny_patch16_224", ["1 by 8 by 8", "patch16"]),
        ("distill --teacher resnet9", ["'resnet9'", "relatum teach"]),
        ("distill --method spp", ["'spp'", "nearest is 'sp'"]),
        ("distill --method sp,sp", ["'sp' is there twice"]),
        ("distill --method sp,", ["no name"]),
        ("distill --method sp=heavy", ["'heavy' is no weight"]),
        ("distill --method sp@nothing", ["'nothing'", "embedding", "maps"]),
        ("distill --seeds x", ["--seeds", "'x'"]),
        ("distill --seeds 0", ["--seeds 0", "1 to 1000"]),
        ("distill --seeds 1,1", ["different", "1,1"]),
        ("distill --seed -3", ["from 0 on", "-3"]),
        ("distill --seed 99999999999999999999", ["'seed'", "99999999999999999999"]),
        ("distill --seed 1 --seeds 2", ["--seed or --seeds, not both"]),
        ("distill --device cude", ["'cude'", "--device cpu"]),
        ("distill --device meta", ["'meta'", "--device cpu"]),
        ("distill --precision float16", ["'precision'", "'float32' or 'bfloat16'", "'float16'"]),
        ("distill --epochs -1", ["'epochs'", "-1"]),
        ("distill --set rate", ["key=value", "'rate'"]),
        ("distill --set learning_rat=1", ["'learning_rat'", "'learning_rate'"]),
        ("distill --set learning_rate=fast", ["'learning_rate'", "'fast'"]),
        ("distill --set learning_rate=NaN", ["'learning_rate'", "nan"]),
        ("distill --set momentum=1", ["'momentum'", "less than 1"]),
        ("distill --set schedule=steps", ["needs milestones"]),
        ("distill --set augment=crop,flop", ["'flop'", "'flip'"]),
        ("distill --set method=sp", ["--set method", "--method"]),
        ("distill --set dropout=0.5", ["no dropout layer"]),
        ("distill --set batch_size=5000", ["5000", "1438", "batch_size=1438"]),
        ("distill --resume --overwrite", ["--resume", "--overwrite", "one of them"]),
        ("distill --recipe nowhere.json", ["nowhere.json", "No such file"]),
        ("distill --method rrkd --set anchors=random --set anchor_count=5000", ["5000", "1438"]),
    ],
)
def test_names_and_options(here: Path, refused: Refused, arguments: str, words: list[str]) -> None:
    line = refused(*arguments.split())
    for word in words:
        assert word in line
    assert list(here.iterdir()) == []


def test_labels_are_wanted_and_there_are_none(here: Path, teacher: Path, refused: Refused) -> None:
    assert "no labels" in refused(*distill(teacher, "--no-labels", "--method", "none"))
    assert "labels" in refused(*distill(teacher, "--no-labels", "--method", "ce=1+sp"))
    wants_labels(here / "needy.py")
    line = refused(*distill(teacher, "--no-labels", "--method", "needy.py:Needy"))
    assert "needy.py:Needy needs labels" in line
    assert not (here / "out").exists()


def wants_labels(path: Path) -> None:
    path.write_text(
        "from torch import nn\n"
        "class Needy(nn.Module):\n"
        "    def forward(self, student, labels):\n"
        "        return student.mean()\n"
    )


# ------------------------------------------------------------------ data


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
    assert "5.png: does not decode" in line
    assert sorted(each.name for each in here.iterdir()) == ["empty", "images"]


# ------------------------------------------------------------------ the user's own files

OWN = """
import torch
from torch import nn

class Raises(nn.Module):
    def forward(self, student, teacher):
        return (student @ teacher[:3].T[:5]).mean()

class Vector(nn.Module):
    def forward(self, student, teacher):
        return student.square().mean(1)

class Number(nn.Module):
    def forward(self, student, teacher):
        return 1.0

class Unborn(nn.Module):
    def __init__(self):
        super().__init__()
        self.ratio = 1 / 0

    def forward(self, student, teacher):
        return student.mean()

class Asks(nn.Module):
    def forward(self, student, banana):
        return student.mean()

def seven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def misfit(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(65, classes))

def breaks(classes):
    return undefined
"""


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--method", "Raises", ["own.py, line 7, in forward: RuntimeError"]),
        ("--method", "Vector", ["'Vector'", "one number", "(64,)"]),
        ("--method", "Number", ["'Number'", "one number", "float"]),
        ("--method", "Unborn", ["own.py, line 20, in __init__: ZeroDivisionError"]),
        ("--method", "Asks", ["'Asks'", "'banana'", "student, teacher, labels"]),
        ("--method", "Rises", ["no 'Rises'", "Raises"]),
        ("--method", "seven", ["own.py:seven is no loss", "torch.nn.Module"]),
        ("--student", "seven", ["own.py:seven", "7 values", "10 classes", "--no-labels"]),
        ("--student", "misfit", ["own.py:misfit", "1 by 8 by 8", "2x64 and 65x10"]),
        ("--student", "breaks", ["own.py, line 36, in breaks: NameError", "'undefined'"]),
    ],
)
def test_own_code(
    here: Path, teacher: Path, refused: Refused, option: str, name: str, words: list[str]
) -> None:
    (here / "own.py").write_text(OWN)
    line = refused(*distill(teacher, option, f"own.py:{name}"))
    for word in words:
        assert word in line
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def loss(:", ["own.py, line 1", "SyntaxError"]),
        ("\nraise RuntimeError('no\\nmore')", ["own.py, line 2", "RuntimeError: no"]),
        ("import sys\nsys.exit('leave')", ["own.py, line 2", "SystemExit: leave"]),
        ("import no_such_module", ["'no_such_module'", "pip install", "own.py, line 1"]),
    ],
)
def test_own_file_that_cannot_be_imported(
    here: Path, teacher: Path, refused: Refused, text: str, words: list[str]
) -> None:
    (here / "own.py").write_text(text)
    line = refused(*distill(teacher, "--method", "own.py:Loss"))
    for word in words:
        assert word in line


# ------------------------------------------------------------------ recipes and folders


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"learning_rat": 1}', ["'learning_rat'", "'learning_rate'"]),
        ('{"epochs": "many"}', ["'epochs'", "'many'"]),
        ('{"epochs": 3', ["no JSON"]),
        ("[1, 2]", ["object of fields", "list"]),
        ("", ["no JSON"]),
    ],
)
def test_recipes(here: Path, refused: Refused, text: str, words: list[str]) -> None:
    (here / "recipe.json").write_text(text)
    line = refused("distill", "--recipe", "recipe.json")
    for word in ["recipe.json", *words]:
        assert word in line
    assert list(here.iterdir()) == [here / "recipe.json"]


def test_a_run_is_not_replaced_unasked(here: Path, teacher: Path, refused: Refused) -> None:
    shutil.copytree(teacher, here / "kept")
    before = contents(here)
    assert "--resume" in refused("teach", "--out", "kept", "--epochs", 1)
    assert "--overwrite" in refused("distill", "--out", "kept", "--epochs", 1)
    line = refused("teach", "--out", "kept", "--epochs", 2, "--resume")
    assert "epochs: 1 there, 2 asked for" in line
    assert contents(here) == before


def test_overwriting_waits_until_nothing_is_wrong(
    here: Path, teacher: Path, refused: Refused
) -> None:
    """A typing error behind --overwrite costs no run; nor does a folder of other experiments."""
    shutil.copytree(teacher, here / "kept")
    shutil.copytree(teacher, here / "out" / "sp" / "seed-0")
    before = contents(here)
    assert "'resnte8'" in refused("teach", "--out", "kept", "--overwrite", "--model", "resnte8")
    for option, value in (("--student", "nothing"), ("--method", "sp@nothing")):
        assert "nothing" in refused(*distill(teacher, "--overwrite", option, value))
    line = refused("distill", "--teacher", teacher, "--out", here, "--overwrite")
    assert "more than one experiment" in line
    assert contents(here) == before


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/relatum/out"])
def test_out_that_cannot_be_written(
    here: Path, teacher: Path, refused: Refused, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("mine")
    for arguments in (
        ("teach", "--epochs", 1, "--out", out),
        ("distill", "--teacher", teacher, "--epochs", 1, "--out", out),
    ):
        assert out in refused(*arguments)
    assert contents(here) == {"file": b"mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_without_rights(here: Path, refused: Refused) -> None:
    (here / "closed").mkdir(mode=0o500)
    assert "Permission denied" in refused("teach", "--epochs", 1, "--out", "closed/out")


# ------------------------------------------------------------------ teachers and checkpoints


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


# ------------------------------------------------------------------ losses that are not finite

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
    arguments = distill(teacher, "--method", "late.py:Late", "--epochs", 9)
    line = failed(capsys, *arguments)
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
    monkeypatch.setattr("relatum.recipes.standard.standard", lambda dataset: bad)
    line = failed(capsys, "distill", "--method", "sp", "--seed", 0, "--epochs", 1, "--out", "out")
    assert "3 of 3 runs failed; teacher: the loss is" in line
