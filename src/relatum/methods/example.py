"""A small pair of networks that every method can serve: to ask methods what they build."""

from functools import cache

import torch

from relatum.methods.setting import Setting
from relatum.models import create
from relatum.taps import Tapped, shapes

CLASSES, SAMPLES, BATCH = 10, 60, 12


def example() -> Setting:
    """resnet14 teaches resnet8, on sixty images of ten classes, in batches of twelve."""
    student, teacher = _tapped("resnet8"), _tapped("resnet14")
    images = torch.zeros(2, 3, 32, 32)
    return Setting(
        student=shapes(student, images),
        teacher=shapes(teacher, images),
        student_says="logits",
        teacher_says="logits",
        samples=SAMPLES,
        classes=CLASSES,
        labels=torch.arange(SAMPLES) % CLASSES,
        batch=BATCH,
        student_network=student,
        teacher_network=teacher,
    )


@cache
def _tapped(name: str) -> Tapped:
    network = create(name, channels=3, size=32, classes=CLASSES)
    assert isinstance(network.taps, dict)
    return Tapped(network, network.taps)
