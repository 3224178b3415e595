"""Names that do not exist are told the nearest that do."""

from pathlib import Path

import pytest

from relatum.spelling import Part, is_folder, parse, unknown, unknown_model, unknown_set
from relatum.types import Fault

FAMILIES = {"none": "task", "sp": "maps", "kd": "logits"}
MODELS = ["resnet8", "resnet8x4", "resnet56", "vgg8"]
SETS = ["digits", "mnist"]


def test_only_what_is_there_is_known() -> None:
    assert parse("sp@maps=2+ce=3", FAMILIES) == (Part("sp", "maps", 2.0), Part("ce", None, 3.0))
    with pytest.raises(Fault, match="no method 'sp'; the nearest is 'kd'"):
        parse("sp", {"kd": "logits"})
    with pytest.raises(Fault, match="'none' is the student alone"):
        parse("none+kd", FAMILIES)


def test_the_nearest() -> None:
    assert unknown("method", "SPP", FAMILIES) == "there is no method 'SPP'; the nearest is 'sp'"
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


def test_options_are_shown() -> None:
    assert "(('temperature', 10.0),)" in repr(parse("kd(temperature=1e+1)", FAMILIES))
