"""The losses: one paper, one file, each an ``nn.Module`` that works in anybody's loop."""

from relatum.losses.ab import AB
from relatum.losses.at import AT
from relatum.losses.cc import CC
from relatum.losses.crd import CRD
from relatum.losses.ctkd import CTKD
from relatum.losses.dcd import DCD
from relatum.losses.dist import DIST
from relatum.losses.dkd import DKD
from relatum.losses.ega import EGA
from relatum.losses.fitnet import FitNet
from relatum.losses.fsp import FSP
from relatum.losses.ft import FT, Paraphraser
from relatum.losses.ickd import ICKD
from relatum.losses.itrd import ITRD
from relatum.losses.kd import KD
from relatum.losses.kdsvd import KDSVD
from relatum.losses.lp import LP
from relatum.losses.lskd import LSKD
from relatum.losses.luminet import LumiNet
from relatum.losses.mlkd import MLKD
from relatum.losses.nkd import NKD
from relatum.losses.nst import NST
from relatum.losses.ofd import OFD, OFDMargin
from relatum.losses.pkt import PKT
from relatum.losses.review import HCL, ReviewKD
from relatum.losses.rkd import RKD, RKDAngle, RKDDistance
from relatum.losses.rld import RLD
from relatum.losses.rrd import RRD
from relatum.losses.rrkd import RRKD
from relatum.losses.semckd import SemCKD
from relatum.losses.simkd import SimKD
from relatum.losses.skd import SKD
from relatum.losses.sp import SP
from relatum.losses.srrl import SRRL
from relatum.losses.task import CrossEntropy, Reconstruction
from relatum.losses.ttm import TTM, WTTM
from relatum.losses.vid import VID, VIDStages
from relatum.losses.vkd import VkD
from relatum.losses.wsld import WSLD

__all__ = [
    "AB",
    "AT",
    "CC",
    "CRD",
    "CTKD",
    "DCD",
    "DIST",
    "DKD",
    "EGA",
    "FSP",
    "FT",
    "HCL",
    "ICKD",
    "ITRD",
    "KD",
    "KDSVD",
    "LP",
    "LSKD",
    "MLKD",
    "NKD",
    "NST",
    "OFD",
    "PKT",
    "RKD",
    "RLD",
    "RRD",
    "RRKD",
    "SKD",
    "SP",
    "SRRL",
    "TTM",
    "VID",
    "WSLD",
    "WTTM",
    "CrossEntropy",
    "FitNet",
    "LumiNet",
    "OFDMargin",
    "Paraphraser",
    "RKDAngle",
    "RKDDistance",
    "Reconstruction",
    "ReviewKD",
    "SemCKD",
    "SimKD",
    "VIDStages",
    "VkD",
]
