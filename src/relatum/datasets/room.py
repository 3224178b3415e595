"""Whether a set lies in memory or is decoded while it is used."""

from typing import Literal

import torch

from relatum.free_memory import free

Memory = Literal["auto", "resident", "streamed"]
SHARE = 1 / 2
"""Of what is free: cutting a part off takes as much again for a moment."""


def room(device: torch.device) -> int:
    """Bytes that images may take: half of what is free.

    A set is read into the processor's memory first, so it must fit there as well as on a GPU.
    """
    return int(SHARE * min(free(device), free(torch.device("cpu"))))
