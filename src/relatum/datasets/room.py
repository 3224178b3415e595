"""Whether a set lies in memory or is decoded while it is used."""

import os
import re
from pathlib import Path
from typing import Literal

import torch

Memory = Literal["auto", "resident", "streamed"]
SHARE = 1 / 2
"""Of what is free: cutting a part off takes as much again for a moment."""
UNKNOWN = 4 << 30
"""Bytes that are taken to be free where nobody says how many are."""
CGROUP = Path("/sys/fs/cgroup")


def room(device: torch.device) -> int:
    """Bytes that images may take: half of what is free, shared by the processes of a training.

    A set is read into the processor's memory first, so it must fit there as well as on a GPU.
    """
    free = _free()
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return int(SHARE * free) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _free() -> int:
    """Bytes that Linux, and a container's limit, would still give; else a quarter of all."""
    about = Path("/proc/meminfo")
    if about.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", about.read_text())
        free = int(found[1]) * 1024 if found else UNKNOWN
        return min(free, _of_container(free))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError, AttributeError):  # Windows has no sysconf
        return UNKNOWN


def _of_container(free: int) -> int:
    """What a control group leaves, its cached files counted as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return free
        used = int((CGROUP / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)", (CGROUP / "memory.stat").read_text(), re.M)
    except (OSError, ValueError):
        return free
    return max(0, int(limit) - used + (int(cached[1]) if cached else 0))
