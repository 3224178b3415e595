"""RRD, relational representation distillation (Giakoumoglou & Stathaki, arXiv 2407.12073)."""

import itertools
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from relatum import blocks, memory, relations
from relatum.divergences import same_samples
from relatum.losses.sloped import sloped
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar

PRESETS: dict[str, dict[str, Any]] = {
    "2024": {"student_temperature": 0.04, "teacher_temperature": 0.10, "enqueue": "after"},
    "2025": {"student_temperature": 0.10, "teacher_temperature": 0.02, "enqueue": "before"},
}
"""By year of the authors' code: all published tables are of 2024, the released code is 2025."""


class RRD(nn.Module):
    r"""Match how every sample relates to a queue of what the teacher said before.

    Both embeddings are projected linearly to ``dim`` and scaled to unit length. With the last
    K projections of the teacher in a queue Q,

    .. math::
        \mathcal L = -\frac1B \sum_i \sigma(z_T^i Q^\top / \tau_t) \cdot
        \log \sigma(z_S^i Q^\top / \tau_s)

    a plain cross-entropy: no factor :math:`\tau^2`, and the teacher's entropy stays in it, so
    its minimum is not zero. With ``enqueue="before"`` the batch itself is in the queue, and
    for :math:`\tau_t \to 0` this is InfoNCE; with ``"after"`` only earlier batches are.

    Differs from the authors' code (giakoumoglou/distillers): the queue starts with unit rows
    (theirs: unit columns; equal once the queue has been filled); any batch size will do
    (theirs must divide K, and dies at the end of the queue when it does not); the teacher's
    head, which they give to the optimiser and which never gets a gradient, is declared frozen;
    everything is in the ``state_dict``.

    The last training step's ``teacher_entropy`` (nats; near zero means one-hot on the sample
    itself, near :math:`\ln K` means uniform) and ``teacher_peak`` (mean of the largest
    probability) are kept for the log. Value and entropy are exact to some :math:`10^{-7} / \tau`.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        dim: width of both projections; 128 as published.
        queue_size: K; 16,384 as published.
        student_temperature: :math:`\tau_s`; 0.1 as in the code of 2025.
        teacher_temperature: :math:`\tau_t`; 0.02 likewise. The docstrings published with both
            years' code have them wrong; ``RRD.preset`` knows the pairs.
        enqueue: ``"before"`` the comparison (2025) or ``"after"`` it (2024).
        teacher_head: ``"frozen"``, a fixed random projection (the authors' code in effect);
            ``"trainable"`` (unpublished; the target is then optimised too, and may collapse);
            ``"identity"``, which needs ``dim == teacher_dim``.

    Raises:
        Fault: an unknown choice, or a size or temperature that is not positive.

    Example:
        >>> loss = RRD(student_dim=32, teacher_dim=64, queue_size=256)
        >>> bool(loss(torch.randn(8, 32), torch.randn(8, 64)) > 0)
        True
    """

    relational = True
    diagnostics = ("teacher_entropy", "teacher_peak")
    queue: Tensor
    pointer: Tensor
    teacher_entropy: Tensor
    teacher_peak: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        dim: int = 128,
        queue_size: int = 16384,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.02,
        enqueue: Literal["before", "after"] = "before",
        teacher_head: Literal["frozen", "trainable", "identity"] = "frozen",
    ) -> None:
        super().__init__()
        sizes = {
            "student_dim": student_dim,
            "teacher_dim": teacher_dim,
            "dim": dim,
            "queue_size": queue_size,
            "student_temperature": student_temperature,
            "teacher_temperature": teacher_temperature,
        }
        for name, value in sizes.items():
            if not value > 0:
                raise Fault(f"RRD: {name} must be positive, got {value}")
        if enqueue not in ("before", "after"):
            raise Fault(f"RRD: enqueue is 'before' or 'after', got {enqueue!r}")
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.enqueue = enqueue
        self.student_head = nn.Linear(student_dim, dim)
        self.teacher_head = _teacher_head(teacher_head, teacher_dim, dim)
        self.register_buffer("queue", memory.unit_rows(queue_size, dim))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))
        for name in self.diagnostics:
            self.register_buffer(name, torch.zeros(()), persistent=False)

    @classmethod
    def preset(cls, year: str, student_dim: int, teacher_dim: int, **changes: Any) -> Self:
        """The settings of the authors' code of ``"2024"`` or ``"2025"``, with what you change."""
        if str(year) not in PRESETS:
            raise Fault(f"RRD has the presets {', '.join(PRESETS)}, got {year!r}")
        return cls(student_dim, teacher_dim, **{**PRESETS[str(year)], **changes})

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"queue_size={len(self.queue)}, student_temperature={self.student_temperature},"
            f" teacher_temperature={self.teacher_temperature}, enqueue={self.enqueue!r}"
        )

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        In training mode the queue moves, once a call; run the backward pass before the next.

        Raises:
            Fault: the batches differ.
        """
        same_samples("RRD", student, teacher)
        student_BD = relations.unit(self.student_head(student))
        teacher_BD = relations.unit(self.teacher_head(teacher.detach()))
        if self.training and self.enqueue == "before":
            memory.enqueue(self.queue, self.pointer, teacher_BD)
        loss = self._against_queue(student_BD, teacher_BD)
        if self.training and self.enqueue == "after":
            memory.enqueue(self.queue, self.pointer, teacher_BD)
        return loss

    def _against_queue(self, student_BD: Tensor, teacher_BD: Tensor) -> Scalar:
        """The loss. Its slopes are found along with it, so that nothing of the size of batch by
        queue waits for the backward pass, and the queue may move before.

        A logit is linear in the queue's row, so what the teacher's softmax expects of the student's
        logits is the student's logit of the mean row that the softmax expects.
        """
        rows = (student_BD, teacher_BD)
        learned = [each.requires_grad for each in rows]
        batch, temperatures = len(student_BD), (self.student_temperature, self.teacher_temperature)
        with torch.no_grad():
            pairs = zip(rows, temperatures, strict=True)
            queries = torch.cat([each / temperature for each, temperature in pairs])
            read = _read(queries, self.queue)
            student_mean, teacher_mean = read.mean.chunk(2)
            student_log_sum, teacher_log_sum = read.log_sum.chunk(2)
            student, teacher = queries.chunk(2)
            loss = (student_log_sum - torch.linalg.vecdot(student, teacher_mean)).mean()
            slopes: list[Tensor] = []
            if learned[0]:
                slopes.append((student_mean - teacher_mean) / (temperatures[0] * batch))
            if learned[1]:
                covariance = _covariance(queries, self.queue, teacher_log_sum)
                slopes.append(covariance / (-temperatures[1] * batch))
            if self.training:
                entropy = teacher_log_sum - torch.linalg.vecdot(teacher, teacher_mean)
                self.teacher_entropy.copy_(entropy.clamp_min(0).mean())
                self.teacher_peak.copy_(read.peak.chunk(2)[1].mean())
        return sloped(loss, tuple(itertools.compress(rows, learned)), tuple(slopes))


class _Reading(NamedTuple):
    """What every query reads of a queue by the softmax of its products with the rows.

    Attributes:
        mean: the mean of the rows, Q×D.
        log_sum: the logarithm of the sum of the logits' exponentials, Q.
        peak: the largest probability, Q.
    """

    mean: Tensor
    log_sum: Tensor
    peak: Tensor


def _read(queries_QD: Tensor, queue_KD: Tensor) -> _Reading:
    """Read a queue as attention is computed (Milakov & Gimelshein, arXiv 1805.02867): a block of
    it at a time, by exponentials over the largest logit so far, scaled anew when that grows. So
    nothing of the size of batch by queue is ever whole."""
    top_Q1 = queries_QD.new_full((len(queries_QD), 1), -torch.inf)
    total_Q1 = torch.zeros_like(top_Q1)
    sum_QD = queries_QD.new_zeros(len(queries_QD), queue_KD.shape[1])
    for rows in _blocks(queries_QD, queue_KD):
        logits = queries_QD @ rows.T
        before_Q1, top_Q1 = top_Q1, torch.maximum(top_Q1, logits.amax(1, keepdim=True))
        scale_Q1 = before_Q1.sub_(top_Q1).exp_()
        exponentials = logits.sub_(top_Q1).exp_()
        total_Q1.mul_(scale_Q1).add_(exponentials.sum(1, keepdim=True))
        sum_QD.mul_(scale_Q1).addmm_(exponentials, rows)
    log_sum = (top_Q1 + total_Q1.log()).squeeze(1)
    return _Reading(sum_QD.div_(total_Q1), log_sum, 1 / total_Q1.squeeze(1))


def _covariance(queries_QD: Tensor, queue_KD: Tensor, teacher_log_sum: Tensor) -> Tensor:
    """How the student's logits and the queue's rows vary together under the teacher's softmax, B×D.

    The logits are centred before they are weighed: where the teacher is certain nothing is left,
    while the difference of two means would leave their rounding.
    """
    parts = _blocks(queries_QD, queue_KD)

    def seen(rows: Tensor) -> tuple[Tensor, Tensor]:
        student_BK, teacher_BK = (queries_QD @ rows.T).chunk(2)
        return teacher_BK.sub_(teacher_log_sum[:, None]).exp_(), student_BK

    total_B1 = expected_B1 = teacher_log_sum.new_zeros(len(teacher_log_sum), 1)
    for rows in parts:
        target_BK, student_BK = seen(rows)
        total_B1 = total_B1 + target_BK.sum(1, keepdim=True)
        expected_B1 = expected_B1 + torch.linalg.vecdot(target_BK, student_BK)[:, None]
    expected_B1 = expected_B1 / total_B1
    covariance_BD = queries_QD.new_zeros(len(teacher_log_sum), queue_KD.shape[1])
    for rows in parts:
        target_BK, student_BK = seen(rows)
        covariance_BD.addmm_(student_BK.sub_(expected_B1).mul_(target_BK), rows)
    return covariance_BD.div_(total_B1)


def _blocks(queries_QD: Tensor, queue_KD: Tensor) -> list[Tensor]:
    """The queue, in blocks whose logits a processor's cache holds for batches of usual size."""
    at_once = blocks.in_cache(queue_KD.device)
    return [rows for (rows,) in blocks.split(len(queries_QD), queue_KD, at_once=at_once)]


def _teacher_head(kind: str, teacher_dim: int, dim: int) -> nn.Module:
    if kind == "identity":
        if dim != teacher_dim:
            raise Fault(f"RRD: an identity head needs dim == teacher_dim, got {dim}, {teacher_dim}")
        return nn.Identity()
    if kind not in ("frozen", "trainable"):
        raise Fault(f"RRD: teacher_head is 'frozen', 'trainable' or 'identity', got {kind!r}")
    return nn.Linear(teacher_dim, dim).requires_grad_(kind == "trainable")
