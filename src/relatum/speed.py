"""How fast a training runs, in one word, and what each word changes in its numbers.

=========  =======================================================================================
``exact``  Nothing is given up for time: float32 (unless another precision is named), layer by
           layer, algorithms that add up in one order. Two runs have the same bits: on a processor
           always, on a GPU wherever torch has such an algorithm; it warns where it has none.
``fast``   The networks multiply in bfloat16 where the hardware does (losses stay in float32), lie
           channels last, and the teacher's BatchNorm is folded into its convolutions. On CUDA
           cuDNN chooses its algorithms by trial, and convolutions in float32 may be TF32's.
           Losses differ from ``exact`` by the rounding of bfloat16: some 3 digits are kept.
``max``    As ``fast``, with both networks through ``torch.compile``, and on CUDA the whole step
           in one CUDA graph. Sums are rounded elsewhere than in ``fast``; it takes a minute to
           begin.
=========  =======================================================================================
"""

import os
import shutil
import sys
from dataclasses import dataclass

import torch
from torch.utils._triton import has_triton

from relatum.precision import half_here
from relatum.spelling import Asked as Asked
from relatum.spelling import Word as Word
from relatum.types import Fault

GRAPHS = 256
"""Compiled forms of one function that a process may keep: each pair and set of taps has its own."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a word switches.

    Attributes:
        precision: of the networks.
        quick: channels last, and the teacher as ``Teacher.quick`` makes it.
        compiled: both networks go through ``torch.compile``.
        replayed: the step is one CUDA graph.
    """

    precision: torch.dtype
    quick: bool
    compiled: bool
    replayed: bool


def speed(word: Word, device: torch.device, precision: Asked = "auto") -> Speed:
    """What a word means on a device.

    Args:
        word: ``exact``, ``fast`` or ``max``.
        device: where the networks run.
        precision: of the networks; ``auto`` is bfloat16 where the word allows it and the hardware
            multiplies in it, else float32.

    Raises:
        Fault: ``max`` without a compiler for the device.

    Example:
        >>> speed("exact", torch.device("cpu"))
        Speed(precision=torch.float32, quick=False, compiled=False, replayed=False)
    """
    wanted = precision == "auto" and word != "exact"
    half = precision == "bfloat16" or (wanted and half_here(device))
    if word == "max" and (missing := _missing(device)):
        raise Fault(
            f"speed max compiles the networks, and there is no {missing} here; install it, or take"
            " --speed fast"
        )
    return Speed(
        precision=torch.bfloat16 if half else torch.float32,
        quick=word != "exact",
        compiled=word == "max",
        replayed=word == "max" and device.type == "cuda",
    )


def settle(word: Word, device: torch.device) -> None:
    """Set what torch keeps for the whole process as a word wants it on this device."""
    exact = word == "exact"
    if device.type == "cuda":
        if exact:  # read at the first product; sums by atomics are warned of, not refused
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = exact
        torch.backends.cudnn.benchmark = not exact
        torch.use_deterministic_algorithms(exact, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.allow_tf32 = not exact  # of convolutions; relations stay in float32
    if word == "max":
        torch._dynamo.config.recompile_limit = GRAPHS
        torch._dynamo.config.accumulated_recompile_limit = 4 * GRAPHS


def _missing(device: torch.device) -> str | None:
    """What torch.compile cannot do without on a device, and does not find."""
    if device.type == "cuda":
        return None if has_triton() else "Triton that works with this GPU"
    usual = "clang++" if sys.platform == "darwin" else "g++"  # what torch itself would call
    compiler = os.environ.get("CXX", usual)
    return None if shutil.which(compiler) else f"C++ compiler ({compiler})"
