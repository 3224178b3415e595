"""The losses: one paper, one file, each an ``nn.Module`` that works in anybody's loop."""

from relatum.losses.kd import KD
from relatum.losses.lp import LP
from relatum.losses.pkt import PKT
from relatum.losses.rkd import RKD, RKDAngle, RKDDistance
from relatum.losses.rrd import RRD
from relatum.losses.rrkd import RRKD
from relatum.losses.sp import SP
from relatum.losses.task import CrossEntropy, Reconstruction

__all__ = [
    "KD",
    "LP",
    "PKT",
    "RKD",
    "RRD",
    "RRKD",
    "SP",
    "CrossEntropy",
    "RKDAngle",
    "RKDDistance",
    "Reconstruction",
]
