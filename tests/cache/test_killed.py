"""Killed while it fills a cache, a process leaves what it finished, and the next goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests import toys
from tests.cache.asked import EVERY, ask, counted
from tests.cache.test_fill import SAMPLES, VIEWED, shards
from tests.processes import ROOT


def test_sigkill(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    ask(toys.teacher(), VIEWED, whole)
    for reached in (2, 9):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cache.killed", str(broken)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/src"},
        )
        began = time.monotonic()
        # whole ones by name alone: one that is being written is renamed while it is looked at
        while len(list(broken.rglob("*.safetensors"))) < reached:
            assert process.poll() is None
            assert time.monotonic() - began < 120
            time.sleep(0.005)
        process.kill()
        process.wait()
    there = len(shards(broken))
    assert 9 <= there < len(shards(whole)) == 6 * len(EVERY)
    (broken / next(iter(shards(broken)))).with_name(".0-00009.safetensors.1").touch()
    teacher = toys.teacher()
    seen = counted(teacher)
    ask(teacher, VIEWED, broken)
    assert 0 < sum(seen) < 2 * SAMPLES
    assert {name: Path(broken, name).read_bytes() for name in shards(broken)} == {
        name: Path(whole, name).read_bytes() for name in shards(whole)
    }
    assert not list(broken.rglob(".*.safetensors.*"))
