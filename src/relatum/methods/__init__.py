"""The named methods: which losses, on which taps, with the papers' weights.

A method is a function from a ``Setting`` to its stages. To add one: its loss, a line in
``losses/__init__.py``, a function in the file of its family and its line here, and its test.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from relatum.losses import (
    AB,
    AT,
    CC,
    CRD,
    CTKD,
    DCD,
    DIST,
    DKD,
    EGA,
    FSP,
    FT,
    ICKD,
    ITRD,
    KD,
    KDSVD,
    LP,
    LSKD,
    MLKD,
    NKD,
    NST,
    OFD,
    PKT,
    RKD,
    RRD,
    RRKD,
    SKD,
    SP,
    SRRL,
    TTM,
    WSLD,
    WTTM,
    CrossEntropy,
    FitNet,
    LumiNet,
    ReviewKD,
    SemCKD,
    SimKD,
    VIDStages,
    VkD,
)
from relatum.methods.embedding import (
    cc,
    cc_rbf,
    crd,
    dcd,
    ega,
    itrd,
    lp,
    pkt,
    rkd,
    rrd,
    rrd_2024,
    rrkd,
    vkd,
)
from relatum.methods.later_maps import adopt, ickd, ofd, reviewkd, semckd, simkd, srrl
from relatum.methods.logits import (
    ctkd,
    dist,
    dkd,
    kd,
    lskd,
    luminet,
    mlkd,
    nkd,
    none,
    skd,
    ttm,
    wsld,
    wttm,
)
from relatum.methods.maps import ab, at, fitnet, fsp, ft, kdsvd, nst, sp, vid
from relatum.methods.setting import TASK, Says, Setting, Stage, task
from relatum.methods.transfer import linear, linear_drifting

__all__ = ["METHODS", "TASK", "Method", "Says", "Setting", "Stage", "task"]


@dataclass(frozen=True)
class Method:
    """A method by its name: how it is built, and where it comes from.

    Attributes:
        build: from a setting to its stages.
        loss: what it adds to the student's own task.
        family: what it compares: ``"logits"``, ``"embedding"`` or ``"maps"``; ``"task"`` where
            it compares nothing, so that it joins with no other method.
        year: of its first publication.
        paper: authors, venue, arXiv's number.
        adopt: for a method that puts another network in the student's place, as SimKD does:
            from a setting to that network, whose name is then ``METHOD(STUDENT,TEACHER)``.
    """

    build: Callable[[Setting], tuple[Stage, ...]]
    loss: type[nn.Module]
    family: str
    year: int
    paper: str
    adopt: Callable[[Setting], nn.Module] | None = None

    def __call__(self, setting: Setting) -> tuple[Stage, ...]:
        """Its stages for a setting."""
        return self.build(setting)

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        return (self.build.__doc__ or "").strip().splitlines()[0]


_CC = "Peng et al., ICCV 2019, arXiv 1904.01802"
_CRD = "Tian et al., ICLR 2020, arXiv 1910.10699"
_RRD = "Giakoumoglou & Stathaki, arXiv 2407.12073"

METHODS: dict[str, Method] = {
    "none": Method(none, CrossEntropy, "task", 0, ""),
    "linear": Method(linear, CrossEntropy, "task", 2020, _CRD),
    "linear-drifting": Method(linear_drifting, CrossEntropy, "task", 2020, _CRD),
    "kd": Method(kd, KD, "logits", 2015, "Hinton et al., arXiv 1503.02531"),
    "wsld": Method(wsld, WSLD, "logits", 2021, "Zhou et al., ICLR 2021, arXiv 2102.00650"),
    "dkd": Method(dkd, DKD, "logits", 2022, "Zhao et al., CVPR 2022, arXiv 2203.08679"),
    "dist": Method(dist, DIST, "logits", 2022, "Huang et al., NeurIPS 2022, arXiv 2205.10536"),
    "ctkd": Method(ctkd, CTKD, "logits", 2022, "Li et al., AAAI 2023, arXiv 2211.16231"),
    "nkd": Method(nkd, NKD, "logits", 2023, "Yang et al., ICCV 2023, arXiv 2303.13005"),
    "mlkd": Method(mlkd, MLKD, "logits", 2023, "Jin et al., CVPR 2023"),
    "luminet": Method(
        luminet, LumiNet, "logits", 2023, "Hossain et al., TMLR 2025, arXiv 2310.03669"
    ),
    "ttm": Method(ttm, TTM, "logits", 2024, "Zheng & Yang, ICLR 2024, arXiv 2402.11148"),
    "wttm": Method(wttm, WTTM, "logits", 2024, "Zheng & Yang, ICLR 2024, arXiv 2402.11148"),
    "lskd": Method(lskd, LSKD, "logits", 2024, "Sun et al., CVPR 2024, arXiv 2403.01427"),
    "skd": Method(skd, SKD, "logits", 2026, "Jeong et al., CVPR 2026"),
    "fitnet": Method(fitnet, FitNet, "maps", 2015, "Romero et al., ICLR 2015, arXiv 1412.6550"),
    "at": Method(at, AT, "maps", 2017, "Zagoruyko & Komodakis, ICLR 2017, arXiv 1612.03928"),
    "nst": Method(nst, NST, "maps", 2017, "Huang & Wang, arXiv 1707.01219"),
    "fsp": Method(fsp, FSP, "maps", 2017, "Yim et al., CVPR 2017"),
    "kdsvd": Method(kdsvd, KDSVD, "maps", 2018, "Lee et al., ECCV 2018, arXiv 1807.06819"),
    "ft": Method(ft, FT, "maps", 2018, "Kim et al., NeurIPS 2018, arXiv 1802.04977"),
    "ab": Method(ab, AB, "maps", 2019, "Heo et al., AAAI 2019, arXiv 1811.03233"),
    "vid": Method(vid, VIDStages, "maps", 2019, "Ahn et al., CVPR 2019, arXiv 1904.05835"),
    "sp": Method(sp, SP, "maps", 2019, "Tung & Mori, ICCV 2019, arXiv 1907.09682"),
    "ofd": Method(ofd, OFD, "maps", 2019, "Heo et al., ICCV 2019, arXiv 1904.01866"),
    "semckd": Method(semckd, SemCKD, "maps", 2020, "Chen et al., AAAI 2021, arXiv 2012.03236"),
    "srrl": Method(srrl, SRRL, "maps", 2021, "Yang et al., ICLR 2021"),
    "reviewkd": Method(
        reviewkd, ReviewKD, "maps", 2021, "Chen et al., CVPR 2021, arXiv 2104.09044"
    ),
    "ickd": Method(ickd, ICKD, "maps", 2021, "Liu et al., ICCV 2021, arXiv 2202.03680"),
    "simkd": Method(simkd, SimKD, "maps", 2022, "Chen et al., CVPR 2022, arXiv 2203.14001", adopt),
    "rrkd": Method(rrkd, RRKD, "embedding", 2023, "Ramos et al., CORES 2023"),
    "rrd": Method(rrd, RRD, "embedding", 2024, _RRD),
    "rrd-2024": Method(rrd_2024, RRD, "embedding", 2024, _RRD),
    "lp": Method(lp, LP, "embedding", 2018, "Chen et al., arXiv 1812.06597"),
    "rkd": Method(rkd, RKD, "embedding", 2019, "Park et al., CVPR 2019, arXiv 1904.05068"),
    "pkt": Method(pkt, PKT, "embedding", 2018, "Passalis & Tefas, ECCV 2018, arXiv 1803.10837"),
    "cc": Method(cc, CC, "embedding", 2019, _CC),
    "cc-rbf": Method(cc_rbf, CC, "embedding", 2019, _CC),
    "crd": Method(crd, CRD, "embedding", 2020, _CRD),
    "ega": Method(ega, EGA, "embedding", 2022, "Ma et al., BMVC 2022, arXiv 2211.13264"),
    "itrd": Method(itrd, ITRD, "embedding", 2022, "Miles et al., BMVC 2022, arXiv 2112.00459"),
    "dcd": Method(dcd, DCD, "embedding", 2024, "Giakoumoglou & Stathaki, arXiv 2407.11802"),
    "vkd": Method(vkd, VkD, "embedding", 2024, "Miles et al., CVPR 2024, arXiv 2403.06213"),
}
