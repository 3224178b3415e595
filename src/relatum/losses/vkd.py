"""VkD, distillation by an orthogonal projection (Miles et al., CVPR 2024, arXiv 2403.06213)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum import divergences
from relatum.precision import exact
from relatum.types import Embedding, Fault, Scalar


class VkD(nn.Module):
    r"""Regress the teacher's normalised embedding, by a projection that only turns.

    .. math:: \mathcal L = \mathrm{huber}\big(z_S P, \; \nu(z_T)\big), \qquad
        P P^\top = I \text{ or } P^\top P = I

    (smooth L1, the mean over all entries). A projection with orthonormal rows keeps all
    distances, so the student itself must learn what the teacher knows; the teacher's
    embedding is brought to one scale by :math:`\nu`: normalised over its features for tasks
    that tell apart, whitened over the batch for those that generate.

    Equal to the authors' code for classification (roymiles/VkD) but for how P is held
    orthogonal: here by the QR decomposition of a free matrix; theirs is torch's
    ``parametrizations.orthogonal``, which for unequal widths becomes zero with the first step
    of weight decay (its signs are a parameter's diagonal, truncated to integers; executed).
    Whitening differs in that no code of theirs shows it: it is the paper's idea in its usual
    form, :math:`(\Sigma + \epsilon I)^{-1/2}` on centred embeddings.

    Args:
        student_dim: width of the student's embedding.
        teacher_dim: width of the teacher's embedding.
        normalisation: ``"layer"``, to mean 0 and variance 1 over features, or ``"whiten"``, to
            an identity covariance over the batch, which wants many more samples than features.

    Raises:
        Fault: a width that is not positive, or another normalisation.

    Example:
        >>> loss = VkD(32, 64)
        >>> bool(loss(torch.randn(8, 32), torch.randn(8, 64)) > 0)
        True
        >>> torch.allclose(loss.student_head(torch.eye(32)).norm(dim=1), torch.ones(32))
        True
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        normalisation: Literal["layer", "whiten"] = "layer",
    ) -> None:
        super().__init__()
        for name, width in (("student_dim", student_dim), ("teacher_dim", teacher_dim)):
            if not width > 0:
                raise Fault(f"VkD: {name} must be positive, got {width}")
        if normalisation not in ("layer", "whiten"):
            raise Fault(f"VkD: normalisation is 'layer' or 'whiten', got {normalisation!r}")
        self.normalisation = normalisation
        self.relational = normalisation == "whiten"
        self.waits = normalisation == "whiten"  # torch reads back whether eigh came to an end
        self.student_head = OrthogonalProjection(student_dim, teacher_dim)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"normalisation={self.normalisation!r}"

    @exact
    def forward(self, student: Embedding, teacher: Embedding) -> Scalar:
        """Embeddings (B, width) of both networks to a scalar.

        Raises:
            Fault: the batches differ.
        """
        divergences.same_samples("VkD", student, teacher)
        teacher = teacher.detach()
        if self.normalisation == "layer":
            target = F.layer_norm(teacher, teacher.shape[1:])
        else:
            target = _whitened(teacher)
        return divergences.huber(self.student_head(student), target)


class OrthogonalProjection(nn.Module):
    """A linear map that keeps lengths and angles, or where it narrows, those in a subspace.

    Its matrix has orthonormal rows, or columns where it narrows: those of the free matrix
    made orthonormal one after the other, of which neither the scale nor weight decay matters.
    """

    def __init__(self, width: int, to: int) -> None:
        super().__init__()
        self.widens = to >= width
        free = torch.empty(max(width, to), min(width, to))
        self.free = nn.Parameter(nn.init.orthogonal_(free))

    def forward(self, embedding: Embedding) -> Embedding:
        """Rows of one width to rows of the other."""
        basis, triangle = torch.linalg.qr(self.free)
        # its diagonal may have either sign, and where that changes the basis would jump
        basis = basis * torch.where(triangle.diagonal() < 0, -1, 1)
        turned: Tensor = embedding @ (basis.T if self.widens else basis)
        return turned


def _whitened(embedding: Embedding, eps: float = 1e-3) -> Tensor:
    """Turned and scaled to an identity covariance over the batch, by the least change (ZCA).

    The variance of every direction is raised by a share ``eps`` of their mean, else those in
    which a small batch does not vary would be scaled up from rounding errors.
    """
    centred_BD = embedding - embedding.mean(0)
    covariance_DD = centred_BD.T @ centred_BD / max(len(embedding) - 1, 1)
    variance_D, axes_DD = torch.linalg.eigh(covariance_DD)
    raised_D = variance_D.clamp_min(0) + eps * variance_D.mean().clamp_min(1e-12)
    white: Tensor = (centred_BD @ axes_DD) * raised_D.rsqrt() @ axes_DD.T
    return white
