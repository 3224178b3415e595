"""The templates for clusters, as far as one machine can try them."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import teacher
from tests.cli.test_kill import count, record, rows
from tests.cluster.scheduler import Slurm
from tests.processes import ROOT, long

__all__ = ["teacher"]  # a fixture

TEMPLATES = ROOT / "examples" / "cluster"
NODES, RAY, SLURM = "torchrun_nodes.sh", "ray_bench.sh", "slurm.sbatch"
LONG = 200.0
"""Seconds that one start may take, on a machine that is busy."""
EPOCHS = 20
RUN = Path("out", "rrd", "seed-0")
TRAINING = ["distill", "--student", "mnist-mlp-32", "--method", "rrd", "--no-baseline"]
TRAINING += ["--seed", "0", "--epochs", str(EPOCHS), "--set", "dropout=0.5", "--device", "cpu"]
ENVIRONMENT = {"PYTHON": sys.executable, "PROCESSES": "1", "OMP_NUM_THREADS": "1"}
ENVIRONMENT |= {"GLOO_SOCKET_IFNAME": "lo"}
ENVIRONMENT |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


def call(template: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", TEMPLATES / template, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def test_every_template_is_tried() -> None:
    assert {file.name for file in TEMPLATES.iterdir()} == {NODES, RAY, SLURM}


@pytest.mark.parametrize("name", [NODES, RAY, SLURM])
def test_bash_understands_it(name: str) -> None:
    assert subprocess.run(["bash", "-n", TEMPLATES / name], check=False).returncode == 0
    assert (TEMPLATES / name).stat().st_mode & stat.S_IXUSR
    if checker := shutil.which("shellcheck"):
        told = subprocess.run([checker, TEMPLATES / name], capture_output=True, text=True)
        assert told.stdout == ""


def test_what_is_not_said_is_asked_for() -> None:
    for template, variables, wanted in (
        (NODES, {}, "how many machines there are"),
        (NODES, {"MACHINES": "2"}, "which of them this is, from 0"),
        (NODES, {"MACHINES": "2", "MACHINE": "0"}, "the address of machine 0"),
        (NODES, {"MACHINES": "1", "MACHINE": "0", "MAIN": "x"}, "what shall relatum do?"),
        (SLURM, {}, "what shall relatum do?"),
        (RAY, {}, "what shall be compared?"),
    ):
        done = call(template, **variables)
        assert done.returncode != 0
        assert wanted in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def pretend(tmp_path: Path) -> Callable[..., list[int]]:
    """Run the batch script with a program in place of Python; the exit codes of its starts."""

    def run(body: str) -> list[int]:
        program = tmp_path / "python"
        program.write_text(f"#!/usr/bin/env bash\n{body}\n")
        program.chmod(0o755)
        slurm = Slurm(tmp_path / "slurm", {"PYTHON": str(program), "FOLDER": str(tmp_path)})
        return slurm.sbatch(
            TEMPLATES / SLURM,
            *("distill", "--out", "a folder"),
            times_up=[(tmp_path / "begun-1").exists],
            patience=20.0,
        )

    return run


BEGIN = 'echo "$@" > "$FOLDER/said-$SLURM_NODEID"; touch "$FOLDER/begun-$SLURM_NODEID"\n'
HEAR = """trap 'touch "$FOLDER/heard-$SLURM_NODEID"; exit 1' USR1\n"""
SLEEP = "for _ in $(seq 200); do sleep 0.05; done\n"


def test_what_every_node_runs(pretend: Callable[..., list[int]], tmp_path: Path) -> None:
    assert pretend('echo "$@" > "$FOLDER/said-$SLURM_NODEID"\n') == [0]
    words = [(tmp_path / f"said-{node}").read_text().split() for node in range(2)]
    assert words[0][-5:] == ["relatum", "distill", "--out", "a", "folder"]
    place = words[0].index("--node-rank") + 1
    assert [each.pop(place) for each in words] == ["0", "1"]
    assert words[0] == words[1]
    assert "127.0.0.1" in words[0]
    assert "SIGUSR1" in words[0][words[0].index("--signals-to-handle") + 1].split(",")


def test_the_time_is_up(pretend: Callable[..., list[int]], tmp_path: Path) -> None:
    """Every node hears of it, and the job begins again."""
    again = "[[ -z ${SLURM_RESTART_COUNT:-} ]] || exit 0\n"
    assert pretend(HEAR + BEGIN + again + SLEEP) == [1, 0]
    assert all((tmp_path / f"heard-{node}").exists() for node in range(2))


def test_what_fails_by_itself_stays_so(pretend: Callable[..., list[int]]) -> None:
    assert pretend(f"exit $((SLURM_NODEID * 3))\n{SLEEP}") == [3]


def test_what_ends_well_stays_so(pretend: Callable[..., list[int]]) -> None:
    """Although its time was nearly up."""
    assert pretend("trap 'exit 0' USR1\n" + BEGIN + SLEEP) == [0]


@long
def test_a_training_longer_than_a_job(teacher: Path, tmp_path: Path) -> None:
    """Two processes of one machine, and two nodes whose time is up: they end in the same bits."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = [*TRAINING, "--teacher", teacher, "--out"]
    machine = {"MACHINES": "1", "MACHINE": "0", "MAIN": "127.0.0.1", "PORT": "29417"}
    variables = {**ENVIRONMENT, **machine, "PROCESSES": "2", "RESTARTS": "0"}
    done = call(NODES, *arguments, whole / "out", **variables)
    assert done.returncode == 0, done.stderr

    run, reached = broken / RUN, list[int]()

    def is_up() -> bool:
        if (run / "checkpoint.pt").exists():
            reached.append(count(run / "metrics.jsonl"))
        return bool(reached)

    slurm = Slurm(tmp_path / "slurm", ENVIRONMENT)
    codes = slurm.sbatch(
        TEMPLATES / SLURM, *arguments, broken / "out", times_up=[is_up], patience=LONG
    )
    assert codes == [1, 0], slurm.said(0) + slurm.said(1)
    assert reached[0] < EPOCHS
    line = "relatum: stopped by SIGUSR1, and saved; go on with --resume"
    assert slurm.said(0).splitlines().count(line) == 1
    assert "back into the queue" in slurm.said(0)
    wanted = whole / RUN
    assert rows(run / "metrics.jsonl") == rows(wanted / "metrics.jsonl")
    assert record(run) == record(wanted)
    for name in ("student.safetensors", "relations.safetensors"):
        assert (run / name).read_bytes() == (wanted / name).read_bytes()
