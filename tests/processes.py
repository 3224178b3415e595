"""Processes that know each other, for what only holds between processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import torch.distributed as dist

import relatum

ROOT = Path(__file__).parents[1]
SECONDS = 240
long = pytest.mark.skipif(
    not os.environ.get("RELATUM_TEST_LONG"), reason="takes minutes: RELATUM_TEST_LONG=1 runs it"
)
"""Of what starts whole trainings in processes of their own, again and again (``make long``)."""


def environment() -> dict[str, str]:
    """That of processes that meet on this machine, and find the tests and this relatum."""
    paths = [str(ROOT), str(Path(relatum.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }


def ran(*words: str | Path, torchrun: int = 0) -> str:
    """What Python said with these words, by itself or in so many processes of torchrun's."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={torchrun}"]
    done = subprocess.run(
        [sys.executable, *(several if torchrun else []), *words],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def start(module: str, world: int = 2) -> list[Any]:
    """Run a module so many times, once for each rank; what each gave to ``join``."""
    with TemporaryDirectory() as folder:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", module, str(rank), str(world), folder],
                env=environment(),
                cwd=ROOT,
            )
            for rank in range(world)
        ]
        try:
            assert [each.wait(SECONDS) for each in started] == [0] * world
        finally:
            for each in started:
                each.kill()
                each.wait()
        return [torch.load(Path(folder, f"{rank}.pt")) for rank in range(world)]


def join(work: Callable[[], object]) -> None:
    """Be one of the processes: meet the others, work, and hand in what came of it."""
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=SECONDS),
    )
    torch.save(work(), folder / f"{rank}.pt")
    dist.barrier()  # who leaves first takes the others' connections along
    dist.destroy_process_group()
