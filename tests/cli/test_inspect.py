"""``relatum inspect``."""

from pathlib import Path

import pytest
import torch

from relatum.cli import main
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import run


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *arguments])
    found = capsys.readouterr()
    assert ended.value.code == 0, found.err
    return found.out


def test_a_network_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "resnet8", "--size", "32", "--classes", "7", "--modules")
    lines = [line.split() for line in text.splitlines()]
    assert ["parameters", "77,847"] in lines
    assert ["stage2", "layer2", "32x16x16", "stage", "2"] in lines
    assert ["layer2.0.conv1", "Conv2d", "32x16x16"] in lines
    assert "9 layers take statistics of a batch (BatchNorm2d)" in text
    assert ["classifier", "fc"] in lines


def test_runs_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(Recipe(epochs=0), tmp_path / "run")
    text = told(capsys, str(tmp_path / "run"))
    assert "digits-cnn-small" in text
    assert "1 by 8 by 8" in text
    assert "its file of weights" in text
    torch.save(create("resnet8", channels=3, size=32, classes=21).state_dict(), tmp_path / "w.pth")
    text = told(capsys, f"resnet8@{tmp_path / 'w.pth'}", "--data", "digits", "--channels", "3")
    lines = [line.split() for line in text.splitlines()]
    assert ["output", "(the", "network)", "21", "what", "it", "returns"] in lines


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["resnt8"], "no model is called 'resnt8'"),
        (["efficientnet_b0"], "timm has one: timm/efficientnet_b0"),
        (["build_model_with_cfg"], "others: timm/NAME"),
        (["vgg8", "--size", "1"], "cannot be run on images of 3 by 1 by 1"),
        (["resnet8", "--size", "99999999999"], "cannot be run on images of 3 by 99999999999"),
        (["resnet8", "--size", "9" * 30], "cannot be run on images of 3 by 999"),
        (["nowhere/run@file"], "there is no file"),
        (["resnet8@\x1b[31mred\x07"], "there is no file \N{REPLACEMENT CHARACTER}[31mred"),
    ],
)
def test_faults(capsys: pytest.CaptureFixture[str], arguments: list[str], word: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert word in error
    assert len(error.splitlines()) == 1
