"""CRD, contrastive representation distillation (Tian et al., ICLR 2020, arXiv 1910.10699)."""

import math

import torch
from torch import Tensor, nn

from relatum import blocks, memory, relations
from relatum.losses.sloped import sloped
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar

EPS = 1e-7
"""What the authors' code adds to the share of noise."""


class CRD(nn.Module):
    r"""Tell each sample's own memory from thousands of others, across the two networks.

    Both embeddings are projected linearly to ``dim`` and scaled to unit length. Two banks
    remember what each network said of every sample of the set. By the student's side, with
    the teacher's bank :math:`M_T`, of which + is the sample's own row and c ≠ + are m = K others,

    .. math::
        r_c = \frac{\exp(\langle M_T^c, z_S \rangle / \tau)}{Z_S}, \qquad
        \ell_S = -\ln \frac{r_+}{r_+ + m P_n + \epsilon}
        - \sum_{c \ne +} \ln \frac{m P_n}{r_c + m P_n + \epsilon}

    with :math:`P_n = 1/N`, and the same the other way round for the teacher's; their means
    over the batch are added. :math:`Z = N \cdot \mathrm{mean}(\exp(\ldots))` of the first
    training step, and constant from then on. Then
    :math:`M \leftarrow \widehat{\mu M + (1-\mu) z}` for the rows of the batch.

    Equal to the authors' code (HobbitLong/RepDistiller, ``exact`` mode). It differs in how it
    gets there: similarities are taken with the whole bank in one product, of which the
    candidates' are kept (theirs gathers B×(K+1)×dim numbers, a gigabyte at a batch of 64); the
    negatives, as there a uniform choice among the other classes without repetition and
    independent for each sample, are drawn on the device (theirs by the loader, on the CPU);
    and everything, the draws included, is in the ``state_dict``.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        num_samples: N, how many the student is trained on.
        labels: of all of them, in order; negatives then have another class. ``None``: any
            other sample may be a negative.
        dim: width of both projections; 128 as published.
        negatives: K for each sample; 16,384 as published.
        temperature: :math:`\tau`; 0.07 as published.
        momentum: :math:`\mu`, how much of a bank's row stays; 0.5 as published.
        seed: of the negatives; drawn from torch's generator where it is ``None``.

    Raises:
        Fault: a size, temperature or momentum out of range, labels that do not fit, or some
            sample has fewer negatives than asked for.

    Example:
        >>> loss = CRD(32, 64, num_samples=100, labels=torch.arange(100) % 10, negatives=50)
        >>> bool(loss(torch.randn(8, 32), torch.randn(8, 64), torch.arange(8)) > 0)
        True
    """

    relational = True
    student_memory: Tensor
    teacher_memory: Tensor
    student_normaliser: Tensor
    teacher_normaliser: Tensor
    fixed: Tensor
    key: Tensor
    labels: Tensor | None

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        num_samples: int,
        labels: Tensor | None = None,
        dim: int = 128,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "student_dim": student_dim,
            "teacher_dim": teacher_dim,
            "dim": dim,
            "negatives": negatives,
            "temperature": temperature,
        }
        for name, value in sizes.items():
            if not value > 0:
                raise Fault(f"CRD: {name} must be positive, got {value}")
        if not 0 <= momentum < 1:
            raise Fault(f"CRD: momentum is at least 0 and below 1, got {momentum}")
        if seed is not None and not 0 <= seed < 2**31:
            raise Fault(f"CRD: a seed is an integer from 0 to 2**31 - 1, got {seed}")
        if negatives > (most := most_negatives(num_samples, labels)):
            raise Fault(
                f"CRD: {negatives:,} negatives are wanted, but there are only {most:,} others"
                f"{'' if labels is None else ' of other classes'} for some sample;"
                f" ask for fewer (negatives={most})"
            )
        self.num_samples = num_samples
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.student_head = nn.Linear(student_dim, dim)
        self.teacher_head = nn.Linear(teacher_dim, dim)
        bound = math.sqrt(3 / dim)  # rows of length one, on average
        for name in ("student", "teacher"):
            bank_ND = torch.empty(num_samples, dim).uniform_(-bound, bound)
            self.register_buffer(f"{name}_memory", bank_ND)
            self.register_buffer(f"{name}_normaliser", torch.ones(()))
        self.register_buffer("fixed", torch.zeros((), dtype=torch.bool))
        source = None if seed is None else torch.Generator().manual_seed(seed)
        self.register_buffer("key", torch.randint(2**31, (), generator=source))
        self.register_buffer("labels", _own(labels), persistent=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return (
            f"num_samples={self.num_samples}, negatives={self.negatives},"
            f" temperature={self.temperature}, momentum={self.momentum}"
        )

    @exact
    def forward(self, student: Embedding, teacher: Embedding, indices: Tensor) -> Scalar:
        """Embeddings (B, width) of both networks and which samples they are, to a scalar.

        In training mode the banks move, once a call.

        Args:
            student: embeddings of the student.
            teacher: embeddings of the teacher.
            indices: where each sample sits in the set, (B); its negatives are then drawn. Or
                (B, K + 1) with the negatives after it, as the authors' loader gives them.

        Raises:
            Fault: the batches differ, or there are not K negatives.
        """
        if not len(student) == len(teacher) == len(indices):
            raise Fault(
                f"CRD: {len(student)} samples of the student, {len(teacher)} of the teacher,"
                f" {len(indices)} indices"
            )
        candidates_BC = self._candidates(indices)
        student_BD = relations.unit(self.student_head(student))
        teacher_BD = relations.unit(self.teacher_head(teacher.detach()))
        student_side = self._side(
            student_BD, self.teacher_memory, self.student_normaliser, candidates_BC
        )
        teacher_side = self._side(
            teacher_BD, self.student_memory, self.teacher_normaliser, candidates_BC
        )
        if self.training:
            self.fixed.fill_(True)
            own_B = candidates_BC[:, 0]
            memory.blend(self.student_memory, own_B, student_BD, self.momentum)
            memory.blend(self.teacher_memory, own_B, teacher_BD, self.momentum)
        return student_side + teacher_side

    def _candidates(self, indices: Tensor) -> Tensor:
        """Every sample's own place, then those of its negatives."""
        if indices.ndim == 2:
            if indices.shape[1] != self.negatives + 1:
                raise Fault(
                    f"CRD: with {self.negatives} negatives each, indices are (B,) or"
                    f" (B, {self.negatives + 1}), got {tuple(indices.shape)}"
                )
            return indices
        others = self.num_samples if self.labels is None else self.labels
        candidates_BC = indices.new_empty(len(indices), self.negatives + 1, dtype=torch.long)
        candidates_BC[:, 0] = indices
        for own, row in blocks.split(self.negatives, indices, candidates_BC):
            row[:, 1:] = memory.draw(own, self.negatives, self.key, others)
        if self.training:
            self.key += 1
        return candidates_BC

    def _side(
        self, rows_BD: Tensor, bank_ND: Tensor, normaliser: Tensor, candidates_BC: Tensor
    ) -> Scalar:
        """One network's rows against the other's bank.

        The slope is found along with the value, at once: nothing of the size of the bank waits
        for the backward pass, and the bank may move before it.
        """
        with torch.no_grad():
            parts = blocks.split(self.negatives, rows_BD, candidates_BC)
            shares = [len(rows) / len(rows_BD) for rows, _ in parts]
            logits = [
                memory.similarities(rows, bank_ND, places) / self.temperature
                for rows, places in parts
            ]
            constant = self._constant(normaliser, logits, shares)
            values, slopes = [], []
            for (_, places), share in zip(parts, shares, strict=True):
                value, slope_RC = _contrast(logits.pop(0), constant, 1 / self.num_samples)
                values.append(value * share)
                if rows_BD.requires_grad:
                    slope_RC = slope_RC / self.temperature
                    slopes.append(memory.combine(slope_RC, bank_ND, places) * share)
            total = torch.stack(values).sum()
        return sloped(total, (rows_BD,), (torch.cat(slopes),)) if slopes else total

    def _constant(self, normaliser: Tensor, logits: list[Tensor], shares: list[float]) -> Tensor:
        """Z as it was fixed by the first training step, or as this one would fix it."""
        means = [part.exp().mean() * share for part, share in zip(logits, shares, strict=True)]
        limits = torch.finfo(normaliser.dtype)  # reached by temperatures below 0.012
        mean = torch.stack(means).sum()
        first = (self.num_samples * mean).clamp(limits.tiny, limits.max)
        constant = torch.where(self.fixed, normaliser, first.to(normaliser.dtype))
        if self.training:
            normaliser.copy_(constant)
        return constant


def most_negatives(num_samples: int, labels: Tensor | None) -> int:
    """How many negatives every sample has: all others, or those of other classes.

    Raises:
        Fault: the labels are not one for each sample, or some sample has none.
    """
    most = num_samples - 1
    if labels is not None:
        _check_labels(num_samples, labels)
        most = num_samples - int(torch.unique(labels, return_counts=True)[1].max())
    if most < 1:
        raise Fault("CRD: there is only one sample, or one class, and nothing to tell it from")
    return most


def _check_labels(num_samples: int, labels: Tensor) -> None:
    if labels.shape != (num_samples,) or labels.is_floating_point():
        raise Fault(
            f"CRD: labels are one integer for each of {num_samples:,} samples, got"
            f" {labels.dtype} of shape {tuple(labels.shape)}"
        )


def _own(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else labels.detach().cpu().long().clone()


def _contrast(logits_BC: Tensor, normaliser: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    r"""The mean over the batch of :math:`\ell`, and its slope by the logits.

    With :math:`u = \ln r - \ln(m P_n + \epsilon)` the terms are softplus(-u) for the sample
    itself and softplus(u), up to a constant, for the negatives: no ratio can overflow.
    """
    batch, count = logits_BC.shape[0], logits_BC.shape[1] - 1
    share = count * noise
    above_BC = logits_BC - normaliser.log() - math.log(share + EPS)
    below_BC = above_BC.abs().neg_().exp_()  # exp(-|u|)
    chance_BC = torch.where(above_BC > 0, 1, below_BC) / (1 + below_BC)  # sigmoid(u)
    costs_BC = _log1p(below_BC) + above_BC.clamp_min(0)  # softplus(u)
    # softplus(-u) = softplus(u) - u
    value = (costs_BC.sum() - above_BC[:, 0].sum()) / batch + count * math.log1p(EPS / share)
    chance_BC[:, 0] -= 1
    return value, chance_BC / batch


def _log1p(number: Tensor) -> Tensor:
    """As ``torch.log1p``, to a rounding error, in a quarter of its time on CPUs (Kahan)."""
    above = 1 + number
    rounded = above - 1
    return torch.where(rounded == 0, number, above.log() * (number / rounded))
