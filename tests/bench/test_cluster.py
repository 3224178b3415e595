"""A Ray cluster of this machine alone. Skipped where Ray is not installed."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from relatum.bench.cluster import Cluster
from relatum.bench.pool import Died, Message, Note, Result, Steps
from relatum.types import Fault
from tests.bench.tasks import Dies, Raises, Says, Waits
from tests.cli import shell
from tests.cli.test_bench import CELLS, FEWER, begun, cells, moved, no_report
from tests.cli.test_kill import finish, folders, wait
from tests.processes import ROOT

__all__ = ["folders", "no_report"]  # fixtures

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
PATIENCE = 120.0


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster; its processes find these tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
    with closing(Cluster("local", "cpu")) as pool:
        yield pool


def gather(pool: Cluster, *keys: str) -> dict[str, list[Message]]:
    """All that these tasks tell, to their ends."""
    told: dict[str, list[Message]] = {key: [] for key in keys}
    began = time.monotonic()
    while any(not each or not isinstance(each[-1], Result | Died) for each in told.values()):
        assert time.monotonic() - began < PATIENCE
        for key, message in pool.wait(0.5):
            told[key].append(message)
    return told


@needs_ray
def test_tasks_of_a_cluster(pool: Cluster, tmp_path: Path) -> None:
    assert pool.room
    pool.submit("says", Says())
    pool.submit("dies", Dies())
    told = gather(pool, "says", "dies")
    assert set(told["says"][:-1]) <= {Steps(1, 2), Note("here")}
    assert isinstance(told["says"][-1], Result)
    (died,) = told["dies"]
    assert isinstance(died, Died)
    assert died.reason.startswith("Ray: ")
    assert "\n" not in died.reason
    pool.submit("fault", Raises(fault=True))
    with pytest.raises(Fault, match="no such thing"):
        gather(pool, "fault")
    pool.submit("error", Raises(fault=False))
    with pytest.raises(RuntimeError, match="KeyError"):
        gather(pool, "error")
    pool.submit("waits", Waits(tmp_path))
    while not any(tmp_path.iterdir()):
        pool.wait(0.1)
    pool.stop()
    assert gather(pool, "waits")["waits"][-1] == Result("saved")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["saved"]


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Fault, match=r"--ray needs Ray: pip install 'relatum\[ray\]'"):
        Cluster("local", "cpu")
    for device in ("mps", "cuda:1"):
        with pytest.raises(Fault, match=f"--device is auto, cpu or cuda, got '{device}'"):
            Cluster("local", device)
    with pytest.raises(Fault, match="--workers is at least 1, got 0"):
        Cluster("local", "cpu", 0)


@needs_ray
def test_the_driver_dies_and_is_started_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, no_report: None
) -> None:
    """SIGKILL on a cluster, SIGTERM on the next, and the rest without: the same bits."""
    whole, broken = folders
    short, names = FEWER, CELLS[:3]
    finish(short, whole, monkeypatch)
    out, arguments = broken / "out", [*short, "--resume"]
    reached = moved(out, 3, *names)
    with begun(*arguments, "--ray", "local", cwd=broken) as process:
        wait(process, reached)
    reached = moved(out, 3, *names)
    with begun(*arguments, "--ray", "local", cwd=broken) as process:
        wait(process, reached)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=shell.PATIENCE)[1]
        assert process.returncode == 143, said
    line = "relatum: stopped by SIGTERM, and saved; go on with --resume"
    assert said.splitlines()[-1] == line
    assert not list(out.rglob("failure.json"))
    finish(arguments, broken, monkeypatch)
    assert cells(out, names) == cells(whole / "out", names)
