import sys
from pathlib import Path

import pytest

from relatum.imports import from_path
from relatum.types import Fault


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    return tmp_path


def test_an_installed_module() -> None:
    assert from_path("collections.abc:Mapping").__name__ == "Mapping"


def test_a_module_in_the_current_directory_without_staying_on_the_search_path(here: Path) -> None:
    (here / "lab_losses_one.py").write_text("class Mine:\n    pass\n")
    before = list(sys.path)
    assert from_path("lab_losses_one:Mine").__name__ == "Mine"
    assert sys.path == before


def test_a_package_in_the_current_directory(here: Path) -> None:
    (here / "lab_two").mkdir()
    (here / "lab_two" / "losses.py").write_text("Mine = 3\n")
    assert from_path("lab_two.losses:Mine") == 3


def test_a_file_and_its_neighbour(here: Path) -> None:
    (here / "deep").mkdir()
    (here / "deep" / "lab_three.py").write_text("from lab_three_beside import VALUE\n")
    (here / "deep" / "lab_three_beside.py").write_text("VALUE = 7\n")
    before = list(sys.path)
    assert from_path("deep/lab_three.py:VALUE") == 7
    assert sys.path == before


def test_a_file_is_run_once_and_hides_no_module(here: Path) -> None:
    import json

    (here / "json.py").write_text("value = object()\n")
    assert from_path("json.py:value") is from_path(f"{here}/json.py:value")
    assert sys.modules["json"] is json


@pytest.mark.parametrize("text", ["nothing", ":name", "module:", ""])
def test_a_text_without_both_halves(text: str) -> None:
    with pytest.raises(Fault, match="'module:name'"):
        from_path(text)


def test_missing_names_and_files_name_the_nearest(here: Path) -> None:
    (here / "lab_four.py").write_text("class Relational:\n    pass\n")
    with pytest.raises(Fault, match="no 'Relatonal'; the nearest are Relational"):
        from_path("lab_four:Relatonal")
    with pytest.raises(Fault, match=r"no module 'lab_for' .*the nearest are lab_four"):
        from_path("lab_for:Relational")
    with pytest.raises(Fault, match=r"no file 'lab_for.py'; the nearest are lab_four.py"):
        from_path("lab_for.py:Relational")
    with pytest.raises(Fault, match=r"no module 'lab_four\.deeper'"):
        from_path("lab_four.deeper:Relational")


@pytest.mark.parametrize("place", ["lab_five", "lab_five.py"])
def test_what_the_users_file_itself_lacks_is_named(here: Path, place: str) -> None:
    (here / "lab_five.py").write_text("import surely_not_installed\n")
    for _ in range(2):  # a half-run file is not remembered
        with pytest.raises(Fault, match="imports 'surely_not_installed', which is not installed"):
            from_path(f"{place}:Mine")


def test_other_errors_of_the_users_file_are_theirs(here: Path) -> None:
    (here / "lab_six.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        from_path("lab_six.py:Mine")
