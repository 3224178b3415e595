"""A training on several processes, and all that may happen to one of them, by torchrun itself.

Whatever it is, every process ends in bounded time, one line says why, and what is gone on with
ends in the bits that it would have had.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.cli import shell, torchrun
from tests.cli.test_kill import count, finish, rows
from tests.processes import long

if not Path("/proc/self/task").exists():
    pytest.skip("who torchrun's processes are is read from /proc", allow_module_level=True)

EPOCHS = 30
TRAINING = ["--student", "mnist-mlp-32", "--no-baseline", "--seed", "0", "--out", "out"]
SAVED = "and saved; go on with --resume"


def distill(teacher: Path, method: str, *more: object, epochs: int = EPOCHS) -> list[object]:
    """A command that trains for some seconds, in steps of milliseconds."""
    line = ["distill", "--teacher", teacher, "--method", method, *TRAINING, "--batch", 32]
    return [*line, "--epochs", epochs, *more]


def run_of(cwd: Path, method: str = "rrd") -> Path:
    return cwd / "out" / method / "seed-0"


def same(one: Path, other: Path, epochs: int = EPOCHS) -> None:
    """Whether two runs ended in the same bits, and nothing else is left in their folders."""
    for name in ("student.safetensors", "relations.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert rows(one / "metrics.jsonl") == rows(other / "metrics.jsonl")
    assert len(rows(one / "metrics.jsonl")) == epochs
    assert sorted(each.name for each in one.iterdir()) == sorted(
        each.name for each in other.iterdir()
    )


def refused(job: torchrun.Job) -> str:
    """The one line of a job that did not end well."""
    assert job.process.returncode != 0
    lines = job.lines()
    assert len(lines) == 1, job.said()
    return lines[0]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two places for the same experiment: names in recipes are relative to them."""
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    return tmp_path / "whole", tmp_path / "broken"


@long
def test_killed_restarted_and_killed(folders: tuple[Path, Path], teacher: Path) -> None:
    """The same bits in the end, with dropout; restarts go on by themselves, and delete nothing."""
    whole, broken = folders
    command = distill(teacher, "rrd", "--set", "dropout=0.5")
    ended = torchrun.call(*command, cwd=whole)
    assert ended.process.returncode == 0, ended.said()

    metrics, checkpoint = run_of(broken) / "metrics.jsonl", run_of(broken) / "checkpoint.pt"
    restarting = ("--standalone", "--max-restarts", "1")
    with torchrun.started(*command, "--overwrite", cwd=broken, options=restarting) as job:
        job.until(checkpoint.exists)
        saved = torch.load(checkpoint, weights_only=True)["position"]["epoch"]
        first = job.ranks()
        job.send(signal.SIGKILL, 0)
        job.until(lambda: len(job.ranks()) == 2 and job.ranks() != first)
        reached = count(metrics)
        assert reached >= saved - 1
        job.until(lambda: count(metrics) > max(reached, saved))
        job.send(signal.SIGKILL, 1)
        seconds = job.gone(torchrun.PATIENCE, but=1)
        job.end()
    assert job.process.returncode != 0
    for rank, line in enumerate(job.lines()):
        assert line.startswith(f"process {rank} of 2 (from 0) is gone: the training ends here; go")
    assert len(job.lines()) == 2
    assert seconds < 20  # far from its patience of minutes, on a busy machine too
    assert torch.load(checkpoint, weights_only=True)["position"]["epoch"] >= saved

    ended = torchrun.call(*command, "--resume", cwd=broken)
    assert ended.process.returncode == 0, ended.said()
    same(run_of(broken), run_of(whole))
    record: dict[str, Any] = json.loads((run_of(broken) / "record.json").read_text())
    assert record["environment"]["processes"] == 2
    assert {row["samples"] for row in record["rows"]} == {1437 // 32 * 32}


@long
def test_four_processes_end_in_the_same_bits(folders: tuple[Path, Path], teacher: Path) -> None:
    """A sum of four numbers depends on their order: DDP must keep to one, resumed or not."""
    whole, broken = folders
    command = distill(teacher, "rrd", "--set", "dropout=0.5", "--batch", 128, epochs=8)
    ended = torchrun.call(*command, cwd=whole, processes=4)
    assert ended.process.returncode == 0, ended.said()
    with torchrun.started(*command, cwd=broken, processes=4) as job:
        job.until(lambda: count(run_of(broken) / "metrics.jsonl") > 2)
        job.send(signal.SIGTERM, 2)
        job.end()
    assert refused(job) == f"stopped by SIGTERM, {SAVED}"
    assert 2 < count(run_of(broken) / "metrics.jsonl") < 8
    ended = torchrun.call(*command, "--resume", cwd=broken, processes=4)
    assert ended.process.returncode == 0, ended.said()
    same(run_of(broken), run_of(whole), epochs=8)


@long
def test_another_number_of_processes_goes_on(
    folders: tuple[Path, Path], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, four, two and one again: the losses of one process alone, but for rounding."""
    whole, broken = folders
    command = distill(teacher, "rrkd", "--set", "dropout=0", "--set", "validation=0.1")
    finish(list(map(str, command)), whole, monkeypatch)
    metrics = run_of(broken, "rrkd") / "metrics.jsonl"
    alone = shell.start(*command, cwd=broken)
    try:
        while count(metrics) < 3:
            assert alone.poll() is None
            time.sleep(0.005)
        alone.send_signal(signal.SIGUSR1)
        said = alone.communicate(timeout=shell.PATIENCE)[1]
    finally:
        alone.kill()
        alone.communicate()
    assert said.splitlines()[-1] == f"relatum: stopped by SIGUSR1, {SAVED}"
    for size, epochs, number, rank in (
        (4, 8, signal.SIGUSR1, 3),  # to one of them
        (2, 16, signal.SIGINT, None),  # to torchrun, which passes it on to all
    ):
        with torchrun.started(*command, "--resume", cwd=broken, processes=size) as job:
            job.until(lambda epochs=epochs: count(metrics) >= epochs)  # type: ignore[misc]
            job.send(number, rank)
            job.end()
        assert refused(job) == f"stopped by {number.name}, {SAVED}"
    assert 16 <= count(metrics) < EPOCHS
    finish(list(map(str, [*command, "--resume"])), broken, monkeypatch)
    close(metrics, run_of(whole, "rrkd") / "metrics.jsonl")


def close(one: Path, other: Path) -> None:
    """Whether the losses of every epoch are equal but for rounding."""
    assert len(rows(one)) == len(rows(other)) == EPOCHS
    for mine, yours in zip(rows(one), rows(other), strict=True):
        assert mine["losses"] == pytest.approx(yours["losses"], abs=1e-4)


@long
def test_one_that_hangs(tmp_path: Path, teacher: Path) -> None:
    """The others give it up. Its torchrun kills it 30 s later; this test does not wait for that."""
    command = distill(teacher, "sp", "--patience", 5, epochs=10_000)
    with torchrun.started(*command, cwd=tmp_path) as job:
        job.until(lambda: count(run_of(tmp_path, "sp") / "metrics.jsonl") > 1)
        job.send(signal.SIGSTOP, 1)
        seconds = job.gone(torchrun.PATIENCE, but=1)
        job.send(signal.SIGKILL, 1)
        job.end()
    line = refused(job)
    assert line.startswith("process 1 of 2 (from 0) has not answered for 5 s: the training ends")
    assert 5 <= seconds < 5 + 20


GREEDY = """
import os
from pathlib import Path
import torch
from torch import nn

class Greedy(nn.Linear):
    def forward(self, images):
        if os.environ["RANK"] == "1" and Path("now").exists():
            torch.empty(1 << 50)
        return super().forward(images.flatten(1))

def make(channels, size, classes):
    return Greedy(channels * size * size, classes)
"""


@long
def test_one_without_memory(tmp_path: Path) -> None:
    """In the middle of its training one gets no more: it says so, and the other nothing."""
    (tmp_path / "greedy.py").write_text(GREEDY)
    command = ["teach", "--model", "greedy:make", "--epochs", 10_000, "--out", tmp_path / "out"]
    with torchrun.started(*command, cwd=tmp_path) as job:
        job.until(lambda: count(tmp_path / "out" / "metrics.jsonl") > 1)
        (tmp_path / "now").touch()
        job.end()
    line = refused(job)
    assert line.startswith("there is not enough memory on process 1 of 2 (from 0) (")
    assert "greedy.py, line 10, in forward); choose a smaller --microbatch or --batch" in line
    assert exit_code(job, 1) == 2
    assert "Traceback" not in job.said().partition("torch/distributed/elastic")[0]


def exit_code(job: torchrun.Job, rank: int) -> int:
    """A process's exit code, from torchrun's own report."""
    said = job.said()
    report = said[said.index(f"rank      : {rank} ") :]
    return int(report[report.index("exitcode  : ") :].split()[2])


POISON = """
import os
from pathlib import Path
from torch import nn

class Poison(nn.Module):
    steps = 0

    def forward(self, student):
        self.steps += self.training
        if os.environ["RANK"] == "1" and self.training and Path("now").exists():
            if not Path("when").exists():
                Path("when").write_text(str(self.steps))
            return student.square().mean() * float("nan")
        return student.square().mean()
"""


def test_a_loss_that_is_no_number_on_one(tmp_path: Path, teacher: Path) -> None:
    """All stop, and the step and the term are named; the checkpoint before it is kept."""
    (tmp_path / "poison.py").write_text(POISON)
    command = distill(teacher, "sp+poison:Poison", epochs=10_000)
    checkpoint = run_of(tmp_path, "sp+poison-Poison") / "checkpoint.pt"
    with torchrun.started(*command, cwd=tmp_path) as job:
        job.until(checkpoint.exists)
        (tmp_path / "now").touch()
        job.end()
    line = refused(job)
    step = int((tmp_path / "when").read_text())
    assert f"the loss is not a number since step {step} (epoch {epoch_of(step)}) in term" in line
    assert "oison" in line[line.index("in term") :]
    state = torch.load(checkpoint, weights_only=True)
    assert all(value.isfinite().all() for value in state["learner"].values())
    assert epoch_of(step) >= state["position"]["epoch"]


def epoch_of(step: int) -> int:
    return (step - 1) // (1437 // 32) + 1  # a last batch that is short is left out


def pictures(folder: Path) -> None:
    """Two classes of images."""
    for number in range(24):
        place = folder / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 10).save(place / f"{number}.png")


@pytest.mark.parametrize("where", ["nowhere", "on one"])
def test_a_folder_of_images_that_is_missing(tmp_path: Path, where: str) -> None:
    """The user hears of it once, be it missing on one machine or on all of them."""
    if where == "on one":
        pictures(tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    wrapper = tmp_path / "start.sh"
    wrapper.write_text('[ "$RANK" = 0 ] || cd elsewhere; exec "$PYTHON" -m relatum "$@"\n')
    job = torchrun.call(
        *("teach", "--data", "pictures", "--model", "mnist-mlp-32", "--epochs", 1),
        *("--out", tmp_path / "out"),
        cwd=tmp_path,
        command=("--no-python", "sh", str(wrapper)),
        environment={"PYTHON": sys.executable},
    )
    line = refused(job)
    assert "pictures" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["list", "models"], ["distill", "--epoch", "3"]])
def test_what_all_refuse_is_said_once(tmp_path: Path, arguments: list[str]) -> None:
    job = torchrun.call(*arguments, cwd=tmp_path)
    line = refused(job)
    assert "'relatum list' is done by one process" in line or "--epoch" in line
