"""Names that do not exist are told the nearest that do."""

from pathlib import Path

import pytest

from relatum.spelling import is_folder, unknown, unknown_model, unknown_set

METHODS = ["none", "sp", "kd"]
MODELS = ["resnet8", "resnet8x4", "resnet56", "vgg8"]
SETS = ["digits", "mnist"]


def test_the_nearest() -> None:
    assert unknown("method", "SPP", METHODS) == "there is no method 'SPP'; the nearest is 'sp'"
    assert "the nearest are resnet8, resnet8x4, resnet56 (" in unknown_model("resnte8", MODELS)
    assert "the nearest are vgg8 (" in unknown_model("VGG", MODELS)
    assert "'minst'; the nearest is 'mnist', there are digits, mnist," in unknown_set("minst", SETS)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_folder("folder:pets", SETS)
    assert is_folder("some/pets", SETS)
    assert not is_folder("pets", SETS)
    for name in ("pets", "mnist"):
        (tmp_path / name).mkdir()
    assert is_folder("pets", SETS)
    assert not is_folder("mnist", SETS)
