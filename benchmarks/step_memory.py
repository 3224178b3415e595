"""What a process that takes steps in one way holds at its fullest: one process for each way."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from machine import MIB, memory
from step_settings import Settings, begin
from step_ways import Usual, built

from relatum import Fault

SCRIPT = Path(__file__).parent / "step.py"
STEPS = 2
"""Of a block here: a step holds what any other does."""


def alone(settings: Settings, name: str) -> dict[str, float]:
    """In this process: mebibytes that it held at most while it took steps, after those that warm.

    Linux counts all of the process, with Python, torch and the images; a loader's workers are not
    counted. On a GPU also what torch's allocator held there.
    """
    begin(settings)
    way = built(settings, name)
    way()
    found = {}
    if settings.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    way()
    found["process_mib"] = memory("VmHWM")
    if settings.device.type == "cuda":
        found["device_mib"] = torch.cuda.max_memory_allocated() / MIB
    if isinstance(way, Usual):
        way.close()
    return found


def of_each(settings: Settings, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """As ``alone``, each way in a process of its own, one after the other.

    Raises:
        Fault: one failed.
    """
    return {name: _in_its_own(settings, name) for name in names}


def _in_its_own(settings: Settings, name: str) -> dict[str, float]:
    told: dict[str, Any] = {
        "--pair": ",".join(settings.pair),
        "--batch": settings.batch,
        "--methods": settings.method,
        "--steps": STEPS,
        "--device": settings.device,
        "--folder": settings.folder,
        "--alone": name,
        **({} if settings.data is None else {"--data": settings.data}),
    }
    words = [str(word) for pair in told.items() for word in pair]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    if done.returncode:
        raise Fault(f"{name} failed by itself: {done.stderr.strip().rpartition(chr(10))[2]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
