"""The command as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "TERM": "xterm"}
if sys.dont_write_bytecode:  # else every process compiles torch again, which takes most of its time
    ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = ""
COMMAND = [sys.executable, "-m", "relatum"]
PATIENCE = 120.0


def start(*arguments: object, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    """Start it, its error output kept for later."""
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, text=True, **options
    )


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def distill(teacher: Path, *more: object) -> list[object]:
    return ["distill", "--teacher", teacher, "--epochs", 1, "--seed", 0, "--out", "out", *more]
