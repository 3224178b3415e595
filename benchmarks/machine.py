"""What the numbers of a benchmark hang on: the machine, how busy it is, what a process holds."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from relatum.record import environment

MIB = 2**20


def machine() -> dict[str, Any]:
    """What the numbers hang on, and how busy it was with other things."""
    info = Path("/proc/cpuinfo")  # where there is one, it knows more than Python does
    models = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return {
        **environment(torch.device("cpu")),
        "processor": models[0] if models else platform.processor(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
    }


def memory(kind: str) -> float:
    """What Linux counts of this process, in MiB: ``VmRSS`` it holds, ``VmHWM`` it held at most."""
    (kibibytes,) = re.findall(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) * 1024 / MIB
