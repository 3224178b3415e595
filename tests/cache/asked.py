"""Shared by the tests of the cache: a small teacher, and what it is asked about."""

from pathlib import Path
from typing import Any

from torch import Tensor

from relatum.cache import Identity, identity_of, remember
from relatum.data import Batches
from relatum.teachers import CachedTeacher, Teacher
from relatum.types import Captured
from relatum.weights import fingerprint
from tests import toys

EVERY = ("embedding", "maps", "output", "stages")


def identity(asked: Teacher, batches: Batches, **other: Any) -> Identity:
    facts: dict[str, Any] = {
        "teacher": "toy",
        "weights": fingerprint(asked.network),
        "input": asked.tapped.input,
        "precision": "float32",
    }
    return identity_of(batches, **{**facts, **other})


def ask(
    teacher: Teacher,
    batches: Batches,
    root: Path,
    names: tuple[str, ...] = EVERY,
    **more: Any,
) -> CachedTeacher:
    return remember(teacher, batches, names, identity(teacher, batches), root, **more)


def counted(teacher: Teacher) -> list[int]:
    """How many images the network is shown, call by call."""
    seen: list[int] = []
    teacher.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


def tensors(captured: Captured, names: tuple[str, ...] = EVERY) -> dict[str, Tensor]:
    """By tap and layer."""
    return {
        f"{name}{place}": each
        for name in names
        for place, each in enumerate(toys.tensors(captured.read(name)))
    }
