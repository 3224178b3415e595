"""``relatum bench``: a grid of runs that survives everything but a wrong command."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from relatum.cli import main
from relatum.record import Record
from tests.cli import shell
from tests.cli.conftest import Refused
from tests.cli.test_kill import changed, count, finish, folders, record, wait
from tests.processes import long

__all__ = ["folders"]  # a fixture

PAIR = "digits-cnn-large--digits-cnn-small"
TINY = ("--scale", "0.03", "--seeds", "1")
FEWER = ["bench", "digits", "--seeds", "1", "--out", "out", "--methods", "none,kd"]  # of 30 epochs
LONG = [*FEWER[:-1], "none,kd,rrd"]
CELLS = ["teachers/digits-cnn-large", "alone/digits-cnn-small/seed-0"]
CELLS += [f"{PAIR}/{method}/seed-0" for method in ("kd", "rrd")]


PROGRESS = re.compile(r"\d+ of \d+ done|tried on one batch")
"""What is said every half a minute, on a machine so busy that it takes as long."""


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Call the command in this process: its exit code, what it printed, and its other lines."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not PROGRESS.match(line)]
    return int(str(stopped.value.code)), said.out, lines


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the report, which takes longer than the runs of these tests."""
    # the package's function hides its module of the same name
    module = import_module("relatum.cli.report")
    monkeypatch.setattr(module, "report_benchmark", lambda *_: None)


def test_help(does: Callable[..., str]) -> None:
    said = does("bench", "--help")
    assert "Usage: relatum bench" in said
    wanted = ("--pairs", "--methods", "--seeds", "--workers", "--together", "--ray", "--resume")
    for option in wanted:
        assert option in said
    assert "bench" in does("--help")


def test_a_grid_its_refusals_and_its_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "own.py").write_text(
        "from torch import nn\n"
        "class Late(nn.Module):\n"
        "    def forward(self, student):\n"
        "        if self.training:\n"
        "            raise RuntimeError('not today')\n"
        "        return student.square().mean()\n"
    )
    arguments = ("bench", "digits", *TINY, "--methods", "none,kd,kd@nope,own.py:Late")
    code, printed, lines = called(capsys, *arguments, "--out", "out")
    assert code == 1
    assert lines[0] == "0 of 5 cells are done, 5 are to do"
    assert lines[1].startswith("refused: kd@nope for digits-cnn-large:digits-cnn-small: ")
    assert "'nope'" in lines[1]
    assert lines[2].startswith("[1/5] teachers/digits-cnn-large: top-1 ")
    assert lines[3].startswith("[2/5] alone/digits-cnn-small/seed-0: top-1 ")
    assert lines[4].startswith(f"[3/5] {PAIR}/kd/seed-0: top-1 ")
    assert lines[5] == f"{PAIR}/own.py-Late/seed-0 failed: RuntimeError: not today"
    assert lines[6].startswith("1 of 5 cells failed")
    assert len(lines) == 7
    failed = here / "out" / PAIR / "own.py-Late" / "seed-0"
    assert json.loads((failed / "failure.json").read_text())["kind"] == "failed"
    assert "own.py" in (failed / "traceback.txt").read_text()
    table = (here / "out" / "table.md").read_text()
    for word in ("kd", "not today", "nope", "scale 0.03"):
        assert word in table
    assert "report: out/report.html" in printed
    for name in ("table.csv", "table.tex", "report.html"):
        assert (here / "out" / name).exists()
    # mended, it goes on, and only with what was not done
    text = (here / "own.py").read_text()
    (here / "own.py").write_text(text.replace("self.training", "False"))
    before = (here / "out" / PAIR / "kd" / "seed-0" / "record.json").stat().st_mtime_ns
    code, _, lines = called(capsys, *arguments, "--out", "out", "--resume")
    assert code == 0
    assert lines[0] == "3 of 5 cells are done, 2 are to do"
    assert lines[2].startswith(f"[4/5] {PAIR}/own.py-Late/seed-0: top-1 ")
    assert len(lines) == 3
    assert (here / "out" / PAIR / "kd" / "seed-0" / "record.json").stat().st_mtime_ns == before
    assert not (failed / "failure.json").exists()
    assert not (failed / "traceback.txt").exists()


def test_teachers_that_are_given_and_what_is_left_alone(
    here: Path, teacher: Path, capsys: pytest.CaptureFixture[str], no_report: None
) -> None:
    arguments = ("bench", "digits", *TINY, "--methods", "kd", "--out", "out")
    given = ("--teachers", f"digits-cnn-large={teacher}", "--samples", 500)
    code, _, lines = called(capsys, *arguments, *given)
    assert (code, len(lines)) == (0, 2)
    assert not (here / "out" / "teachers").exists()
    found = Record.load(here / "out" / PAIR / "kd" / "seed-0")
    assert found.samples["train"] == 500
    assert found.teacher is not None
    known = Record.load(teacher).metrics["top1"]
    assert found.teacher.metrics["top1"] == known
    # the same again, and another time with everything done
    assert called(capsys, *arguments, *given, "--resume")[0] == 0
    code, _, lines = called(capsys, *arguments, *given)
    assert code == 2
    assert lines == [
        "relatum: out holds a benchmark already; go on with --resume, or choose another --out"
    ]


@long
def test_cells_beside_each_other(
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    no_report: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three in one process: killed in the middle, gone on with two at a time, to the same bits."""
    whole, broken = folders
    finish(LONG, whole, monkeypatch)
    out = broken / "out"
    with begun(*LONG, "--together", 3, cwd=broken) as process:
        wait(process, lambda: count(out / CELLS[2] / "metrics.jsonl") >= 3)
        process.kill()
    assert not any((out / name / "record.json").exists() for name in CELLS[1:])
    assert all((out / name / "metrics.jsonl").exists() for name in CELLS)
    monkeypatch.chdir(broken)
    code, _, lines = called(capsys, *LONG, "--together", 2, "--resume")
    assert code == 0, lines
    assert cells(out) == cells(whole / "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--pairs resnet56", ["TEACHER:STUDENT", "'resnet56'"]),
        ("--pairs digits-cnn-large:resnet9", ["'resnet9'", "nearest"]),
        ("--pairs resnet8:digits-cnn-small,resnet8:digits-cnn-small", ["there twice"]),
        ("--methods kd,spp", ["'spp'", "'sp'"]),
        ("--methods kd,kd", ["there twice"]),
        ("--baseline sp --methods none,kd", ["--baseline sp", "none, kd"]),
        ("--seeds 0", ["--seeds"]),
        ("--scale 0", ["scale", "0"]),
        ("--scale 2", ["scale", "2"]),
        ("--samples 0", ["samples", "0"]),
        ("--teachers vgg13=here", ["'vgg13'", "in no pair"]),
        ("--teachers digits-cnn-large", ["MODEL=PATH"]),
        ("--teachers digits-cnn-large=nowhere", ["nowhere"]),
        ("--workers 0", ["--workers", "at least 1"]),
        ("--together 0", ["--together", "at least 1"]),
        ("--set method=kd", ["--set method", "--methods"]),
        ("--set seed=3", ["--set seed", "--seeds"]),
        ("--set learning_rat=3", ["'learning_rat'", "'learning_rate'"]),
        ("--set batch_size=5000", ["5000", "1438"]),
        ("--device nowhere", ["'nowhere'"]),
        ("--ray nowhere:1 --device mps", ["--ray", "'mps'"]),
    ],
)
def test_a_wrong_command_is_one_line(
    here: Path, refused: Refused, arguments: str, words: list[str]
) -> None:
    """What takes a process to find out ends the command all the same, and before it writes."""
    line = refused("bench", "digits", *arguments.split())
    for word in words:
        assert word in line
    assert list(here.iterdir()) == []


def test_folders_that_are_something_else(here: Path, teacher: Path, refused: Refused) -> None:
    (here / "file").touch()
    assert "is a file" in refused("bench", "digits", "--out", "file")
    line = refused("bench", "digits", "--out", teacher.parent, "--resume")
    assert "holds runs of something else" in line
    (here / "out").mkdir()
    (here / "out" / "bench.json").write_text("{")
    assert "is damaged" in refused("bench", "digits", "--out", "out", "--resume")


@contextmanager
def begun(*arguments: object, cwd: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The command as a process in a session of its own, which does not outlive the block.

    Its orphans may: they have its standard error too, so that is not read to its end.
    """
    process = shell.start(*arguments, cwd=cwd, start_new_session=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def cells(out: Path, names: Sequence[str] = CELLS) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Of every cell its record, without what depends on the hour and the place, and weights."""
    return {
        name: (record(out / name), (out / name / "student.safetensors").read_bytes())
        for name in names
    }


def moved(out: Path, epochs: int, *names: str) -> Callable[[], bool]:
    """Whether a command that begins now is past its rehearsal, and one of these cells notes so
    many epochs more than by now, and is not finished: orphans of the last one may do that too."""
    before = {name: count(out / name / "metrics.jsonl") for name in names}
    asked = changed(out / "bench.json")

    def so() -> bool:
        return changed(out / "bench.json") > asked and any(
            count(out / name / "metrics.jsonl") >= epochs + before[name]
            and not (out / name / "record.json").exists()
            for name in names
        )

    return so


@long
def test_killed_again_and_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, no_report: None
) -> None:
    """SIGKILL twice, then Ctrl-C for all processes of the terminal.

    Each time the command is started again at once, while its orphans may still be saving.
    """
    whole, broken = folders
    finish(LONG, whole, monkeypatch)
    out, arguments = broken / "out", [*LONG, "--workers", "2", "--resume"]
    for number, names in (
        (signal.SIGKILL, CELLS[:2]),
        (signal.SIGKILL, CELLS),
        (signal.SIGINT, CELLS),
    ):
        reached = moved(out, 5, *names)
        with begun(*arguments, cwd=broken) as process:
            wait(process, reached)
            if number == signal.SIGKILL:
                continue
            os.killpg(process.pid, number)
            said = process.communicate(timeout=shell.PATIENCE)[1]
            assert process.returncode == 130, said
            line = "relatum: stopped by SIGINT, and saved; go on with --resume"
            assert said.splitlines()[-2:] == ["stopping: what runs is saved first", line]
            assert "Traceback" not in said
            assert not list(out.rglob("failure.json"))
    finish(arguments, broken, monkeypatch)
    assert cells(out) == cells(whole / "out")
    assert not list(out.rglob(".lock"))


@long
def test_two_at_once_share_the_work(
    here: Path, capsys: pytest.CaptureFixture[str], no_report: None
) -> None:
    """Two commands on one folder: no cell is trained twice, both end well."""
    arguments = [*LONG, "--resume"]
    with begun(*arguments, cwd=here) as other:
        wait(other, moved(here / "out", 1, *CELLS))
        code, _, lines = called(capsys, *arguments)
        said = other.communicate(timeout=shell.PATIENCE)[1]
    assert (code, other.returncode) == (0, 0), said
    assert not any("failed" in line for line in [*lines, *said.splitlines()])
    for name in CELLS:
        rows = (here / "out" / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(row)["epoch"] for row in rows] == list(range(1, 31))


def test_a_worker_that_is_killed_is_a_failed_cell(
    here: Path, capsys: pytest.CaptureFixture[str], no_report: None
) -> None:
    (here / "own.py").write_text(
        "import os, signal\n"
        "from torch import nn\n"
        "class Fatal(nn.Module):\n"
        "    def forward(self, student):\n"
        "        if self.training:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return student.square().mean()\n"
    )
    methods = ("--methods", "own.py:Fatal,none", "--workers", 1)
    code, _, lines = called(capsys, "bench", "digits", *TINY, *methods, "--out", "out")
    assert code == 1
    assert any("own.py-Fatal/seed-0 failed: its process was ended by SIGKILL" in s for s in lines)
    assert (here / "out" / "alone" / "digits-cnn-small" / "seed-0" / "record.json").exists()
    assert not (here / "out" / PAIR / "own.py-Fatal" / "seed-0" / "record.json").exists()


def test_a_board_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ("bench", "digits", "--methods", "none", "--seeds", 1, "--out", "out")
    process = shell.start(*arguments, cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    assert process.wait(shell.PATIENCE) == 0
    text = shown.decode()
    assert "0 of 1 done, 1 running" in text
    assert "[1/1] alone/digits-cnn-small/seed-0: top-1" in text
    assert "━" in text
    assert "\x1b[?25h" in text  # the cursor is given back


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with begun(*LONG, cwd=tmp_path) as process:
        wait(process, moved(tmp_path / "out", 1, *CELLS))
        process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=shell.PATIENCE)[1]
        assert process.returncode == 130, said
        assert said.splitlines()[-1].startswith("relatum: interrupted")
        assert "Traceback" not in said
    began = time.monotonic()
    while subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True).returncode == 0:
        assert time.monotonic() - began < shell.PATIENCE  # somebody is left
        time.sleep(0.05)
