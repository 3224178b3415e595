"""The named methods: which losses, on which taps, with the papers' weights.

A method is a function from a ``Setting`` to its stages. To add one: its loss, a line in
``losses/__init__.py``, a function in the file of its family and its line here, and its test.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from relatum.losses import KD, LP, PKT, RKD, RRD, RRKD, SP, CrossEntropy
from relatum.methods.embedding import lp, pkt, rkd, rrd, rrd_2024, rrkd
from relatum.methods.logits import kd, none
from relatum.methods.maps import sp
from relatum.methods.setting import TASK, Says, Setting, Stage, task

__all__ = ["METHODS", "TASK", "Method", "Says", "Setting", "Stage", "task"]


@dataclass(frozen=True)
class Method:
    """A method by its name: how it is built, and where it comes from.

    Attributes:
        build: from a setting to its stages.
        loss: what it adds to the student's own task.
        family: what it compares: ``"task"``, ``"logits"``, ``"embedding"`` or ``"maps"``.
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


_RRD = "Giakoumoglou & Stathaki, arXiv 2407.12073"

METHODS: dict[str, Method] = {
    "none": Method(none, CrossEntropy, "task", 0, ""),
    "kd": Method(kd, KD, "logits", 2015, "Hinton et al., arXiv 1503.02531"),
    "sp": Method(sp, SP, "maps", 2019, "Tung & Mori, ICCV 2019, arXiv 1907.09682"),
    "rrkd": Method(rrkd, RRKD, "embedding", 2023, "Ramos et al., CORES 2023"),
    "rrd": Method(rrd, RRD, "embedding", 2024, _RRD),
    "rrd-2024": Method(rrd_2024, RRD, "embedding", 2024, _RRD),
    "lp": Method(lp, LP, "embedding", 2018, "Chen et al., arXiv 1812.06597"),
    "rkd": Method(rkd, RKD, "embedding", 2019, "Park et al., CVPR 2019, arXiv 1904.05068"),
    "pkt": Method(pkt, PKT, "embedding", 2018, "Passalis & Tefas, ECCV 2018, arXiv 1803.10837"),
}
