"""How far two things of one shape are apart, as a scalar. The student's comes first.

Everything runs in float32 or better, also under autocast.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.precision import HALVES, exact
from relatum.relations import unit
from relatum.types import Fault, Logits, Scalar


def same(student: Tensor, teacher: Tensor) -> None:
    """Refuse two things of different shapes, which broadcasting would compare in silence."""
    if student.shape != teacher.shape:
        raise Fault(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have one"
            " shape here: the same samples, and logits over the same classes, maps or embeddings"
            " of the same size"
        )


def same_samples(loss: str, student: Tensor, teacher: Tensor, what: str = "samples") -> None:
    """Refuse batches of different sizes, by what was given and not by what is made of it.

    Args:
        loss: its name, for the message.
        student: what the student says, samples first.
        teacher: likewise of the teacher.
        what: stands along the first axis.

    Raises:
        Fault: the two are not as many.
    """
    if len(student) != len(teacher):
        raise Fault(f"{loss}: {len(student)} {what} of the student, {len(teacher)} of the teacher")


LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e4
"""Beyond these, what is softened is an argmax or the same for all classes, in float32."""


def check_temperature(temperature: float, loss: str = "") -> None:
    """Refuse what logits cannot be softened by.

    Raises:
        Fault: it is not positive, or so small or large that nothing is left of the logits.
    """
    if not LEAST_TEMPERATURE <= temperature <= MOST_TEMPERATURE:
        of = f"{loss}: " if loss else ""
        raise Fault(
            f"{of}temperature must be positive, from {LEAST_TEMPERATURE:g} to"
            f" {MOST_TEMPERATURE:g}, got {temperature}"
        )


@exact
def kl(student: Logits, teacher: Logits, temperature: float | Tensor = 1.0) -> Scalar:
    r""":math:`T^2 \, \mathrm{KL}(\sigma(z_t/T) \,\|\, \sigma(z_s/T))`, the mean over rows."""
    same(student, teacher)
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


@exact
def cross_entropy(student: Logits, teacher: Logits) -> Scalar:
    r""":math:`-\sum_k \sigma(z_t)_k \log \sigma(z_s)_k`, the mean over rows.

    The entropy of the teacher's rows is not subtracted, so equal rows do not give zero.
    """
    same(student, teacher)
    return -(F.softmax(teacher, dim=-1) * F.log_softmax(student, dim=-1)).sum(-1).mean()


@exact
def huber(student: Tensor, teacher: Tensor) -> Scalar:
    """Half the square of differences below one, their size less a half above; the mean."""
    same(student, teacher)
    return F.smooth_l1_loss(student, teacher)


@exact
def squared(student: Tensor, teacher: Tensor) -> Scalar:
    """The mean squared difference."""
    same(student, teacher)
    return F.mse_loss(student, teacher)


@exact
def row_cosine(student: Tensor, teacher: Tensor, eps: float = 1e-8) -> Tensor:
    """The cosine of every row with its counterpart: one number a row, not a scalar.

    It stays within -1 and 1, which rounding alone would not grant. A row shorter than ``eps``
    has cosine zero and sends no gradient.
    """
    same(student, teacher)
    return (unit(student, eps) * unit(teacher, eps)).sum(-1).clamp(-1, 1)


def squares(values: Tensor, over: tuple[int, ...] | None = None) -> Tensor:
    """The sum of squares over some axes, or over all: of half precision too in float32.

    Its backward pass goes over the values once, where autograd's for ``square`` and a sum goes
    three times, and keeps no copy of them.

    Args:
        values: of any shape.
        over: the axes that go; all of them when ``None``.
    """
    axes = tuple(range(values.ndim)) if over is None else over
    kept: Tensor = _Squares.apply(values, axes)
    return kept.squeeze(axes)


class _Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, axes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(values)
        raised = values.float() if values.dtype in HALVES else values
        return raised.square().sum(axes, keepdim=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        return (values * (2 * grad)).to(values.dtype), None
