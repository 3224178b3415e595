"""How much memory is free, on a GPU or for the processors."""

import math
import os
import re
from pathlib import Path

import torch

UNKNOWN = 4 << 30
"""Bytes that are taken to be free where nobody says how many are."""
CGROUP = Path("/sys/fs/cgroup")


def free(device: torch.device) -> int:
    """Bytes that are free on a device for this process: those beside it have as much each.

    Args:
        device: a GPU; of any other the processor's memory is asked for.
    """
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cuda":
        there: int = torch.cuda.mem_get_info(device)[0]
        return there // math.ceil(beside / torch.cuda.device_count())
    return _of_machine() // beside


def _of_machine() -> int:
    """Bytes that Linux, and a container's limit, would still give; else a quarter of all."""
    about = Path("/proc/meminfo")
    if about.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", about.read_text())
        available = int(found[1]) * 1024 if found else UNKNOWN
        return min(available, _of_container(available))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError, AttributeError):  # Windows has no sysconf
        return UNKNOWN


def _of_container(available: int) -> int:
    """What a control group leaves, its cached files counted as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return available
        used = int((CGROUP / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)", (CGROUP / "memory.stat").read_text(), re.M)
    except (OSError, ValueError):
        return available
    return max(0, int(limit) - used + (int(cached[1]) if cached else 0))
