"""One process writes a run's folder at a time."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from relatum.recipes.recipe import Recipe
from relatum.record import Record
from relatum.run import run
from relatum.run.lock import LOCK, Taken, hold
from relatum.types import Fault

HOLDER = """
import sys, time
from pathlib import Path
from relatum.run.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds a folder by now."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_one_is_told_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "kd" / "seed-0"
    with hold(folder), pytest.raises(Taken) as caught, hold(folder):
        pass
    said = str(caught.value)
    assert said.startswith(f"{folder} is being written by another process (process {os.getpid()} ")
    assert said.endswith("; wait for it, or choose another --out")
    assert "\n" not in said
    with hold(folder):
        pass


def test_what_was_made_for_it_alone_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with hold(tmp_path / "out" / "kd" / "seed-0"):
        assert (tmp_path / "out" / "kd" / "seed-0" / LOCK).exists()
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(KeyError), hold(tmp_path / "out" / "sp"):
        raise KeyError
    assert list((tmp_path / "out").iterdir()) == []
    with hold(tmp_path / "out" / "rrd" / "seed-0"):
        (tmp_path / "out" / "rrd" / "seed-0" / "written").touch()
    assert [path.name for path in (tmp_path / "out" / "rrd" / "seed-0").iterdir()] == ["written"]


def test_a_killed_holder_is_in_nobodys_way(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(Taken, match=f"process {process.pid} on "), hold(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / LOCK).exists()
    with hold(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_never_two_at_once(tmp_path: Path) -> None:
    """Holders that come and go, each of which removes the file and the folder that it made."""
    folder = tmp_path / "run"
    inside: list[int] = []
    most, turns, errors = 0, 0, list[BaseException]()

    def work(number: int) -> None:
        nonlocal most, turns
        done = 0
        try:
            while done < 50:
                try:
                    with hold(folder):
                        inside.append(number)
                        most = max(most, len(inside))
                        turns += 1
                        inside.remove(number)
                        done += 1
                except Taken:
                    continue
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert (most, turns) == (1, 200)
    assert not (folder / LOCK).exists()


def test_what_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    names = ("file", "file/run", "file/deep/run", "link", "link/run")
    places = [*(tmp_path / name for name in names), Path("/proc/nothing/run")]
    for place in places:
        with pytest.raises(Fault, match="cannot write"), hold(place):
            pass


def test_a_run_waits_for_nobody(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(epochs=1)
    folder = tmp_path / "run"
    with hold(folder):
        for resume in (False, True):
            with pytest.raises(Taken):
                run(recipe, folder, resume=resume)
        assert [path.name for path in folder.iterdir()] == [LOCK]
    record = run(recipe, folder)
    with hold(folder):  # to read what is finished needs no lock
        assert run(recipe, folder, resume=True) == record == Record.load(folder)
        with pytest.raises(Taken):
            run(recipe, folder, overwrite=True)
    assert Record.load(folder) == record


def test_a_folder_that_goes_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mkdir` finds it, its holder removes it, and `mkdir` finds no folder: that is no fault."""
    made = Path.mkdir
    fails: list[OSError] = [FileExistsError(17, "File exists"), FileNotFoundError(2, "No such")]

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if fails:
            raise fails.pop()
        made(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with hold(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).exists()
    assert not fails
