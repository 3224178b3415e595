"""The whole step of a training, recorded once and played again: nothing of it waits for Python."""

from relatum.replay.graph import CudaGraph, Recording
from relatum.replay.obstacle import Drawing, obstacle
from relatum.replay.step import Replay

__all__ = ["CudaGraph", "Drawing", "Recording", "Replay", "obstacle"]
