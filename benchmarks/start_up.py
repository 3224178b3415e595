"""How long does the command take to answer, and to its first step of training?

    python benchmarks/start_up.py [--repeats 7]

Every command is a process of its own, from its start to its end, and they take turns, so that what
else the machine does falls on all alike; medians. Beside them what they cannot do without: Python
itself, and torch with an optimiser, which imports its compiler. A training is ended by its first
step. Files that are read for the first time take longer: one round before does not count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

RESULT = Path(__file__).parent / "results" / "start_up.json"
TOLD = (
    *("--help", "distill --help", "bench --help", "list methods", "list methods sp"),
    *("list models", "list pairs", "list datasets", "list recipes"),
)
REFUSED = (
    *("distil", "distill --sed 1", "distill --method spp", "distill --data minst"),
    *("distill --student resnte8", "distill --set learning_rat=1", "list methods spp"),
)
TRAINED = ("distill", "teach")
FLOOR = {
    "python": "pass",
    "torch": "import torch",
    "torch and an optimiser": (
        "import torch; torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)"
    ),
}
TO_FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from relatum.cli import main

def stop(*_):
    os._exit(0)

register_optimizer_step_post_hook(stop)
main(sys.argv[1:])
raise SystemExit("no step was taken")
"""


def commands() -> dict[str, tuple[list[str], int]]:
    """What is run, and the exit code that it must have."""
    python = sys.executable
    return {
        **{name: ([python, "-c", code], 0) for name, code in FLOOR.items()},
        **{f"relatum {line}": ([python, "-m", "relatum", *line.split()], 0) for line in TOLD},
        **{f"relatum {line}": ([python, "-m", "relatum", *line.split()], 2) for line in REFUSED},
        **{
            f"relatum {line}, to its first step": ([python, "-c", TO_FIRST_STEP, line], 0)
            for line in TRAINED
        },
    }


def seconds(command: list[str], code: int) -> tuple[float, float]:
    """Of the clock and of the processors, of one process in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = os.times(), time.perf_counter()
        process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        clock, after = time.perf_counter() - began, os.times()
    if process.returncode != code:
        raise SystemExit(f"{command} ended with {process.returncode}: {process.stderr[-500:]}")
    children = after.children_user + after.children_system
    return clock, children - before.children_user - before.children_system


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    runs = commands()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, (command, code) in runs.items():
            spent = seconds(command, code)
            if turn:
                times[name].append(spent)
    found = {
        name: {
            "seconds": round(statistics.median(clock for clock, _ in each), 3),
            "processor_seconds": round(statistics.median(work for _, work in each), 3),
            "all_seconds": [round(clock, 3) for clock, _ in each],
        }
        for name, each in times.items()
    }
    for name, each in found.items():
        print(f"{each['seconds']:6.2f} s  {each['processor_seconds']:6.2f} s  {name}")
    result = {"machine": machine(), "repeats": repeats, "commands": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
