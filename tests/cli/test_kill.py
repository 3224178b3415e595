"""Killed at any moment, or asked to stop: what is gone on with ends in the same bits.

``RELATUM_KILLS=10`` kills ten times instead of three, ``RELATUM_KILL_SEED`` at other moments.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from relatum.cli import main
from tests.cli import shell
from tests.processes import long

KILLS = int(os.environ.get("RELATUM_KILLS", "3"))
SEED = int(os.environ.get("RELATUM_KILL_SEED", "0"))
EPOCHS = 40
TRAINING = ["--student", "mnist-mlp-32", "--method", "rrd", "--no-baseline", "--seed", "0"]
TRAINING += ["--set", "dropout=0.5", "--set", "augment=crop,flip", "--set", "validation=0.1"]
TRAINING += ["--set", "probes=linear,knn", "--epochs", str(EPOCHS), "--out", "out"]


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, without what depends on the hour."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [{**json.loads(line), "seconds": 0} for line in lines]


def count(path: Path) -> int:
    """How many epochs are noted; the last line may be in the making."""
    return path.read_text().count("\n") if path.exists() else 0


def changed(path: Path) -> int:
    """When, in nanoseconds."""
    return path.stat().st_mtime_ns if path.exists() else 0


def noted(path: Path, epochs: int, before: int) -> bool:
    """Whether a process that began later than ``before`` has noted so many epochs."""
    return count(path) >= epochs and changed(path) > before


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Until something is so, or the process has ended."""
    began = time.monotonic()
    while process.poll() is None and not until():
        assert time.monotonic() - began < shell.PATIENCE
        time.sleep(0.005)


def finish(arguments: list[str], cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command to its good end, in this process."""
    monkeypatch.chdir(cwd)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two places for the same experiment: names in recipes are relative to them."""
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    return tmp_path / "whole", tmp_path / "broken"


def test_sigkill(
    folders: tuple[Path, Path],
    teacher: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In training at moments drawn by a seed, and once after it, in evaluation."""
    whole, broken = folders
    arguments = ["distill", "--teacher", str(teacher), *TRAINING]
    finish(arguments, whole, monkeypatch)
    moments = random.Random(SEED)
    run = broken / "out" / "rrd" / "seed-0"
    killed = []
    for number in range(KILLS):
        process = shell.start(*arguments, "--resume", cwd=broken)
        # the later, the further; the last one falls into evaluation, or the report
        goal = EPOCHS if number == KILLS - 1 else moments.randint(1, EPOCHS * (number + 1) // KILLS)
        pause = moments.random() * 0.3
        before = changed(run / "metrics.jsonl")
        wait(process, partial(noted, run / "metrics.jsonl", goal, before))
        time.sleep(pause)
        process.kill()
        process.communicate()
        killed.append((count(run / "metrics.jsonl"), process.returncode))
    with capsys.disabled():
        print(f"\nseed {SEED}: {KILLS} kills (epochs noted, exit code): {killed}")
    assert -signal.SIGKILL in {code for _, code in killed}
    finish([*arguments, "--resume"], broken, monkeypatch)
    wanted = whole / "out" / "rrd" / "seed-0"
    for name in ("student.safetensors", "best.safetensors", "relations.safetensors"):
        assert (run / name).read_bytes() == (wanted / name).read_bytes()
    assert rows(run / "metrics.jsonl") == rows(wanted / "metrics.jsonl")
    assert len(rows(run / "metrics.jsonl")) == EPOCHS
    assert sorted(path.name for path in run.iterdir()) == sorted(
        path.name for path in wanted.iterdir()
    )


EXPERIMENT = ["distill", "--method", "kd,rrkd", "--seed", "0", "--epochs", "15", "--out", "out"]


def record(path: Path) -> dict[str, Any]:
    """A run's record, without what depends on the hour and the place."""
    found: dict[str, Any] = json.loads((path / "record.json").read_text())
    found["rows"] = [{**row, "seconds": 0} for row in found["rows"]]
    return {name: each for name, each in found.items() if name not in ("seconds", "environment")}


@long
def test_signals_at_every_stage_of_an_experiment(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the teacher learns, SIGTERM while a student does, SIGKILL in the report."""
    whole, broken = folders
    finish(EXPERIMENT, whole, monkeypatch)
    out = broken / "out"
    for number, reached in (
        (signal.SIGINT, lambda: count(out / "teacher" / "metrics.jsonl") >= 3),
        (signal.SIGTERM, lambda: count(out / "kd" / "seed-0" / "metrics.jsonl") >= 3),
        (signal.SIGKILL, lambda: (out / "rrkd" / "seed-0" / "record.json").exists()),
    ):
        process = shell.start(*EXPERIMENT, "--resume", cwd=broken)
        wait(process, reached)
        process.send_signal(number)
        said = process.communicate(timeout=shell.PATIENCE)[1]
        if number == signal.SIGKILL:
            assert process.returncode == -number
            continue
        assert process.returncode == 128 + number, said
        line = f"relatum: stopped by {signal.Signals(number).name}, and saved; go on with --resume"
        assert said.splitlines()[-1] == line
        assert "Traceback" not in said
    finish([*EXPERIMENT, "--resume"], broken, monkeypatch)
    for name in ("teacher", "none/seed-0", "kd/seed-0", "rrkd/seed-0"):
        assert record(out / name) == record(whole / "out" / name)
        weights = (out / name / "student.safetensors").read_bytes()
        assert weights == (whole / "out" / name / "student.safetensors").read_bytes()
    assert (out / "report.html").exists()
