"""Two nodes: their link is cut in the middle of a training, or a process dies. For root alone.

``RELATUM_CLUSTER_PYTHON`` names the Python of another environment to start on the nodes,
``RELATUM_KILLS`` tries every node.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from tests.cli.conftest import teacher
from tests.cli.test_kill import count, record, rows
from tests.cluster.namespaces import ADDRESSES, Nodes, obstacle
from tests.processes import ROOT, long

__all__ = ["teacher"]  # a fixture

TEMPLATE = ROOT / "examples" / "cluster" / "torchrun_nodes.sh"
PYTHON = os.environ.get("RELATUM_CLUSTER_PYTHON", sys.executable)
EPOCHS = 30
PATIENCE = 20
"""Seconds for which relatum waits for a node that does not answer."""
MARGIN = 40
"""Seconds more until torchrun has ended too, on a machine that is busy."""
LONG = 240
"""Seconds in which everything else has to happen."""
DYING = [0, 1] if "RELATUM_KILLS" in os.environ else [1]
"""Where a process dies: on the node that does not keep torchrun's store, and on both if asked."""
RUN = Path("out", "rrd", "seed-0")
TRAINING = ["distill", "--student", "mnist-mlp-32", "--method", "rrd", "--no-baseline"]
TRAINING += ["--seed", "0", "--epochs", str(EPOCHS), "--set", "dropout=0.5"]
TRAINING += ["--device", "cpu", "--patience", str(PATIENCE)]
ENVIRONMENT = {"MACHINES": str(len(ADDRESSES)), "MAIN": ADDRESSES[0], "PROCESSES": "1"}
ENVIRONMENT |= {"PYTHON": PYTHON, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Trial:
    """One training on two nodes, in a folder of its own."""

    nodes: Nodes
    folder: Path
    teacher: Path

    @property
    def run(self) -> Path:
        return self.folder / RUN

    @contextmanager
    def begun(self, *more: str, restarts: int = 0) -> Iterator[list["Popen[bytes]"]]:
        """Start the template on both nodes."""
        command = [TEMPLATE, *TRAINING, "--teacher", self.teacher, "--out", self.folder / "out"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        variables = {**ENVIRONMENT, "RESTARTS": str(restarts), "PYTHONPATH": path}
        started = [
            self.nodes.start(
                each, [*command, *more], {**variables, "MACHINE": str(each)}, self._log(each)
            )
            for each in range(len(ADDRESSES))
        ]
        try:
            yield started
        finally:
            for each in started:
                each.kill()
                each.wait()

    def _log(self, node: int) -> Path:
        return self.folder / f"said-{node}"

    def said(self) -> list[list[str]]:
        """What relatum said on each node."""
        texts = [self._log(each).read_text() for each in range(len(ADDRESSES))]
        return [[line for line in each.splitlines() if "relatum:" in line] for each in texts]

    def reach(self, started: list["Popen[bytes]"]) -> None:
        """Wait for the first checkpoint."""
        began = time.monotonic()
        while not (self.run / "checkpoint.pt").exists():
            assert time.monotonic() - began < LONG, self.said()
            assert all(each.poll() is None for each in started), self.said()
            time.sleep(0.05)

    def ended(self, started: list["Popen[bytes]"], seconds: float) -> list[float]:
        """Wait until both have ended; after how many seconds each did."""
        began = time.monotonic()
        took: dict[int, float] = {}
        while len(took) < len(started):
            assert time.monotonic() - began < seconds, self.said()
            for node, each in enumerate(started):
                if each.poll() is not None:
                    took.setdefault(node, time.monotonic() - began)
            time.sleep(0.05)
        return [round(took[node], 1) for node in range(len(started))]

    def finish(self, *more: str) -> None:
        """Run it to its good end."""
        with self.begun(*more) as started:
            self.ended(started, LONG)
            assert [each.returncode for each in started] == [0, 0], self.said()

    def equals(self, other: "Trial") -> None:
        """Hold that it ended in the same bits."""
        assert rows(self.run / "metrics.jsonl") == rows(other.run / "metrics.jsonl")
        assert record(self.run) == record(other.run)
        for name in ("student.safetensors", "relations.safetensors"):
            assert (self.run / name).read_bytes() == (other.run / name).read_bytes()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    if reason := obstacle():
        pytest.skip(reason)
    with Nodes() as made:
        yield made


@pytest.fixture(scope="module")
def whole(nodes: Nodes, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """One that nothing happened to."""
    trial = Trial(nodes, tmp_path_factory.mktemp("whole"), teacher)
    trial.finish()
    return trial


@pytest.fixture
def broken(whole: Trial, tmp_path: Path) -> Trial:
    return Trial(whole.nodes, tmp_path, whole.teacher)


@long
def test_a_cut_link(whole: Trial, broken: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ends give up in time and say why; healed and started again: the same bits."""
    with broken.begun() as started:
        broken.reach(started)
        broken.nodes.cut()
        try:
            seconds = broken.ended(started, PATIENCE + MARGIN)
        finally:
            broken.nodes.heal()
        assert 0 not in [each.returncode for each in started]
    lines, before = broken.said(), rows(broken.run / "metrics.jsonl")
    with capsys.disabled():
        print(f"\ncut in epoch {len(before) + 1}; the nodes ended after {seconds} s: {lines}")
    assert len(before) < EPOCHS
    assert not (broken.run / "record.json").exists()
    assert [len(each) for each in lines] == [1, 1]
    for (line,) in lines:
        assert line.startswith("relatum: ")
        assert f"has not answered for {PATIENCE} s" in line
        assert line.endswith("go on with what is saved by --resume")
    broken.finish("--resume")
    assert rows(broken.run / "metrics.jsonl")[: len(before)] == before
    broken.equals(whole)


@long
@pytest.mark.parametrize("node", DYING)
def test_a_process_dies(whole: Trial, broken: Trial, node: int) -> None:
    """torchrun starts all of them again, and they go on by themselves: the same bits."""
    with broken.begun(restarts=1) as started:
        broken.reach(started)
        (worker,) = set(broken.nodes.processes(node)) - {started[node].pid}
        assert count(broken.run / "metrics.jsonl") < EPOCHS
        os.kill(worker, signal.SIGKILL)
        broken.ended(started, LONG)
        assert [each.returncode for each in started] == [0, 0], broken.said()
    (line,) = [line for each in broken.said() for line in each]
    assert f"process {node} of 2 (from 0) is gone" in line
    broken.equals(whole)
