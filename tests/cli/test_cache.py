"""``relatum cache``, and ``--cache`` beside it."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import shell
from tests.cli.conftest import Refused
from tests.cli.shell import contents
from tests.processes import long

Does = Callable[..., str]


def shards(root: Path) -> dict[str, bytes]:
    return {name: each for name, each in contents(root).items() if name.endswith(".safetensors")}


def test_sizes_are_said_and_nothing_is_written(here: Path, teacher: Path, does: Does) -> None:
    said = does("cache", "--teacher", teacher, "--method", "kd,sp", "--out", "c", "--dry-run")
    assert said.splitlines() == [
        "digits-cnn-large on 1,438 images",
        "  maps                  0.7 MiB a view",  # 64 · 2 · 2 numbers of 2 bytes
        "  output                0.1 MiB a view",
        "  in all                0.8 MiB",
    ]
    assert not Path("c").exists()


def test_what_was_stored_is_used(here: Path, teacher: Path, does: Does) -> None:
    said = does("cache", "--teacher", teacher, "--method", "kd,rrd", "--out", "c")
    assert said.splitlines()[-1] == "c: use it by --cache c"
    before = shards(Path("c"))
    assert len(before) == 4
    arguments = ["distill", "--teacher", teacher, "--method", "kd,rrd", "--epochs", 1, "--seed", 0]
    does(*arguments, "--out", "live")
    does(*arguments, "--out", "cached", "--cache", "c")
    assert shards(Path("c")) == before
    for name in ("none/seed-0", "kd/seed-0", "rrd/seed-0"):
        one, other = (Path(each, name, "student.safetensors") for each in ("live", "cached"))
        assert one.read_bytes() == other.read_bytes()


def test_views_are_stored_for_each_seed(here: Path, teacher: Path, does: Does) -> None:
    viewed = ["--method", "kd", "--set", "augment=crop,flip", "--seeds", 2]
    said = does("cache", "--teacher", teacher, "--out", "c", "--views", 3, *viewed)
    lines = said.splitlines()
    assert [each for each in lines if each.startswith("digits")] == [
        f"digits-cnn-large on 1,438 images, 3 views, seed {seed}" for seed in (0, 1)
    ]
    assert lines[-1] == "c: use it by --cache c --set views=3 --set augment=crop,flip"
    before = shards(Path("c"))
    assert len(before) == 2 * 3 * 2
    does(
        *("distill", "--teacher", teacher, "--epochs", 1, "--no-baseline", "--cache", "c"),
        *("--set", "views=3", "--out", "o", *viewed),
    )
    assert shards(Path("c")) == before


def test_a_recipe_is_stored_as_well(here: Path, teacher: Path, does: Does) -> None:
    does(*shell.distill(teacher, "--method", "kd", "--no-baseline", "--cache", "c"))
    before = shards(Path("c"))
    shutil.rmtree("c")
    does("cache", "--recipe", "out/kd/seed-0/recipe.json", "--out", "c")
    assert shards(Path("c")) == before
    assert json.loads(Path("out/kd/seed-0/recipe.json").read_text())["cache"] == "c"


def test_nonsense_is_refused(here: Path, teacher: Path, refused: Refused) -> None:
    ask = ["cache", "--out", "c"]
    assert refused(*ask) == "a cache is of a trained teacher; name it: --teacher"
    ask += ["--teacher", str(teacher)]
    assert "give --views 4, or --set augment" not in refused(*ask, "--views", 2)
    line = refused(*ask, "--set", "augment=flip")
    assert "fix in how many ways each is augmented (--views 4)" in line
    assert "read nothing of a teacher" in refused(*ask, "--method", "none")
    assert "use --views" in refused(*ask, "--set", "views=2")
    assert "use --out" in refused(*ask, "--set", "cache=x")
    told = refused(*shell.distill(teacher, "--cache", "c", "--set", "augment=flip"))
    assert "(--set views=4)" in told
    Path("file").touch()
    assert "cannot write file" in refused("cache", "--teacher", teacher, "--out", "file")
    assert not Path("c").exists()
    told = refused(*shell.distill(teacher, "--cache", "file/c"))
    assert "a cache is a folder, and file is none" in told.replace(str(Path.cwd()) + "/", "")


SLOW = ["--method", "kd,sp", "--set", "augment=crop,flip", "--views", "400", "--seed", "0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_says_what_becomes_of_it(number: int, here: Path, teacher: Path) -> None:
    process = shell.start("cache", "--teacher", teacher, "--out", "c", *SLOW, cwd=here)
    began = time.monotonic()
    while len(list(Path("c").rglob("*.safetensors"))) < 4:
        assert process.poll() is None
        assert time.monotonic() - began < shell.PATIENCE
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate(timeout=shell.PATIENCE)[1]
    assert process.returncode == 128 + number
    name = signal.Signals(number).name
    last = f"relatum: stopped by {name}; the same command goes on with what is stored"
    assert said.splitlines()[-1] == last
    assert "Traceback" not in said


@long
def test_several_commands_at_once_ask_the_teacher_once(here: Path, teacher: Path) -> None:
    ask = ("cache", "--teacher", teacher, "--out", "c", "--method", "kd,sp", "--seed", "0")
    viewed = ("--set", "augment=crop,flip", "--views", "6")
    commands = [shell.start(*ask, *viewed, cwd=here) for _ in range(3)]
    said = [each.communicate(timeout=2 * shell.PATIENCE)[1] for each in commands]
    assert [each.returncode for each in commands] == [0, 0, 0], said
    assert sum("the teacher is asked once" in each for each in said) == 1
    assert len(shards(Path("c"))) == 2 * 2 * 6


def test_a_benchmark_shares_it(here: Path, teacher: Path) -> None:
    arguments = ["bench", "digits", "--methods", "kd,rrd", "--seeds", "1", "--workers", "2"]
    arguments += ["--pairs", "digits-cnn-large:digits-cnn-small", "--scale", "0.1", "--cache", "c"]
    done: subprocess.CompletedProcess[str] = shell.call(
        *arguments, "--teachers", f"digits-cnn-large={teacher}", "--out", "b", cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert len(shards(Path("c"))) == 4
