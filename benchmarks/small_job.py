"""How long from the command to a trained student: ``relatum distill``, and a script one writes.

The job is the embedded default, scikit-learn's digits: a teacher of 30 epochs, then a student of 30
by SP. The script (``usual_digits.py``) runs once as it comes and once on one thread, which is what
relatum gives so small networks by itself; it prints accuracies and saves the weights. The command
also records what was measured, keeps checkpoints and writes a report.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from relatum import Fault

Command = tuple[Sequence[str], Mapping[str, str] | None]
"""Arguments of Python, and its environment where it is not ours."""
USUAL = "usual"
SCRIPT = Path(__file__).parent / "usual_digits.py"
DISTILL = "-m relatum distill --data digits --method sp --no-baseline --seed 0 --device cpu"


def take_turns(speeds: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Seconds from the start of each process to its end, so many times.

    Raises:
        Fault: one of them failed.
    """
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    commands = {USUAL: ([str(SCRIPT)], None), f"{USUAL}, one thread": ([str(SCRIPT)], alone)}
    commands |= {speed: ([*DISTILL.split(), "--speed", speed], None) for speed in speeds}
    return measured(commands, repeats)


def measured(commands: Mapping[str, Command], repeats: int) -> dict[str, list[float]]:
    """Python with each of these arguments and ``--out FOLDER``, in turn."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (words, environment) in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                out = ["--out", str(Path(folder) / "out")]
                began = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, *words, *out],
                    capture_output=True,
                    text=True,
                    env=environment,
                )
                found[name].append(time.perf_counter() - began)
            if done.returncode:
                raise Fault(f"{name} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return found
