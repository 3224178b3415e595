"""What a user can get wrong: one line that says how to mend it, exit code 2, nothing touched."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shell import contents, distill

Refused = Callable[..., str]


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
        ("list modles", ["methods, models, pairs, datasets, recipes", "'modles'"]),
        ("reproduce rrkd/mnist", ["'rrkd/mnist'", "rrkd/mnist-"]),
        ("reproduce rrkd/mnist-anchors --scale 0", ["share of the epochs", "got 0"]),
        ("reproduce rrkd/mnist-anchors --variant fare", ["authors or fair", "'fare'"]),
        ("report nowhere", ["nowhere", "no finished run"]),
        ("evaluate nowhere", ["nowhere", "no finished run"]),
        ("distill --data minst", ["'minst'", "nearest is 'mnist'"]),
        ("distill --student digts-cnn-small", ["'digts-cnn-small'", "digits-cnn-small"]),
        ("distill --student timm/resnet1", ["'resnet1'", "resnet18"]),
        ("distill --student torchvision/resnet18", ["3 channels", "timm/NAME"]),
        ("distill --student timm/vit_tiny_patch16_224", ["1 by 8 by 8", "patch16"]),
        ("distill --teacher resnet9", ["'resnet9'", "relatum teach"]),
        ("distill --teacher runs/lr=0,wd=0", ["'runs/lr=0,wd=0'", "weight", "over 0, got 0"]),
        ("distill --teacher table:e.npz", ["e.npz", "a table is one of .npy"]),
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
        ("distill --seeds 1,", ["--seeds", "'1,'", "one is --seed"]),
        ("distill --seeds 1 --seeds 2", ["--seeds is given twice"]),
        ("distill --method kd --methods sp", ["--method or --methods is given twice", "commas"]),
        ("distill --method=", ["--method is empty"]),
        ("distill --data=", ["--data is empty"]),
        ("distill --teacher=", ["--teacher is empty"]),
        ("distill --method rrd(queue_size=99999999999)", ["not enough memory", "queue_size"]),
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
