"""Pairs of shapes that methods are asked about."""

from torch import Size

from relatum.methods import Setting
from relatum.types import Shapes

STUDENT: Shapes = {
    "output": Size([2, 10]),
    "embedding": Size([2, 12]),
    "maps": Size([2, 12, 2, 2]),
    "stages": (Size([2, 6, 4, 4]), Size([2, 12, 2, 2])),
}
TEACHER: Shapes = {
    "output": Size([2, 10]),
    "embedding": Size([2, 64]),
    "maps": Size([2, 64, 2, 2]),
    "stages": (Size([2, 32, 4, 4]), Size([2, 64, 2, 2])),
}
SETTING = Setting(STUDENT, TEACHER, "logits", "logits", samples=50_000, classes=10)
AUTO = Setting(
    {"output": Size([2, 1, 28, 28]), "embedding": Size([2, 32])},
    {"output": Size([2, 1, 28, 28]), "embedding": Size([2, 64])},
    "reconstruction",
    "reconstruction",
    samples=54_000,
    classes=10,
)
