"""KDSVD, distillation by singular vectors (Lee, Kim & Song, ECCV 2018, arXiv 1807.06819)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from relatum.losses.fsp import consecutive
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar

Vectors = Float[Tensor, "batch channels"]
NOTHING = 1e-6
"""A direction with less than this share of a map's energy counts as none: rounding chose it."""
BLUR = 1e-8
"""Directions whose shares of the energy differ by less cannot be told apart (in float32: by a
hundred times its rounding)."""


class KDSVD(nn.Module):
    r"""Match how the main direction of each layer's channels goes with that of the next.

    With v the first right singular vector of a sample's map, as a matrix of pixels by channels,

    .. math::
        \mathcal L_{SVD} = \frac1B \sum_{l, c, d}
        \big( r(v_S^{l})_{cd} - r(v_T^{l})_{cd} \big)^2, \qquad
        r(v^l)_{cd} = \exp\!\big( -(v_c^{l+1} - v_d^{l})^2 / \beta \big)

    over consecutive layers. For the student v is, of its first few singular vectors, the one
    that is most like the teacher's, with the teacher's sign. Both networks need the same
    channels, layer by layer; the sizes of their maps may differ.

    Equal to RepDistiller's code with k = 1 wherever that has one value. It differs in this:

    - A singular vector has no sign of its own, yet the value depends on how those of
      consecutive layers are signed, which there is up to the solver. Here the teacher's entries
      add up to something positive.
    - A direction without energy, of a dead map or of one of low rank, is not taken: its vector
      is zero.
    - The gradient of a decomposition is infinite where singular values coincide or vanish. Here
      it is that of the vector that was chosen, to first order, with gaps below 1e-8 of the
      energy damped (in float32 below 1e-5). So nothing need be replaced after the fact; there,
      losses that are not finite become zero.
    - Maps need not be square.

    The decomposition is of the smaller of two Gram matrices, in float64. It makes a GPU wait
    once a layer, so this one loss cannot be captured in a CUDA graph.

    Args:
        candidates: how many of the student's singular vectors may be chosen; 4 as there (k + 3).
        width: :math:`\beta`; 8 as there.

    Raises:
        Fault: a number is not positive; in ``forward``: there are fewer than two layers, or the
            networks differ in layers, channels (the first such layer is named) or samples.

    Example:
        >>> students = torch.randn(4, 8, 16, 16), torch.randn(4, 16, 8, 8)
        >>> teachers = torch.randn(4, 8, 16, 16), torch.randn(4, 16, 8, 8)
        >>> bool(KDSVD()(students, teachers) > 0)
        True
    """

    waits = True  # torch reads back whether eigh came to an end

    def __init__(self, candidates: int = 4, width: float = 8.0) -> None:
        super().__init__()
        for name, value in (("candidates", candidates), ("width", width)):
            if not value > 0:
                raise Fault(f"KDSVD: {name} must be positive, got {value}")
        self.candidates, self.width = candidates, width

    def extra_repr(self) -> str:
        """Its settings."""
        return f"candidates={self.candidates}, width={self.width}"

    @exact
    def forward(self, student: tuple[FeatureMap, ...], teacher: tuple[FeatureMap, ...]) -> Scalar:
        """Tuples of maps (B, C, H, W) of both networks, shallow to deep, to a scalar."""
        pairs = zip(*consecutive("KDSVD", student, teacher), strict=True)
        layers = [self._aligned(*pair) for pair in pairs]
        losses = [
            self._relation(below, above) - self._relation(teachers_below, teachers_above)
            for (below, teachers_below), (above, teachers_above) in pairwise(layers)
        ]
        return torch.stack([each.square().sum((1, 2)).mean() for each in losses]).sum()

    def _relation(self, below: Vectors, above: Vectors) -> Float[Tensor, "batch above below"]:
        return torch.exp(-(above[:, :, None] - below[:, None, :]).square() / self.width)

    def _aligned(self, student: FeatureMap, teacher: FeatureMap) -> tuple[Vectors, Vectors]:
        """The student's and the teacher's direction of one layer, as (B, C) each."""
        teacher_BC = directions(teacher, 1).squeeze(1)
        teacher_BC = teacher_BC * _sign(teacher_BC.sum(1, keepdim=True))
        student_BKC = directions(student, self.candidates)
        cosine_BK = (student_BKC @ teacher_BC[:, :, None]).squeeze(2).detach()
        best_B1 = cosine_BK.abs().argmax(1, keepdim=True)
        student_BC = student_BKC.take_along_dim(best_B1[:, :, None], 1).squeeze(1)
        student_BC = student_BC * _sign(cosine_BK.take_along_dim(best_B1, 1))
        alive_B1 = teacher_BC.abs().sum(1, keepdim=True) > 0
        return student_BC * alive_B1, teacher_BC


def directions(maps: FeatureMap, count: int) -> Float[Tensor, "batch count channels"]:
    r"""The first right singular vectors of every sample's pixels x channels, signs arbitrary.

    With energies :math:`\lambda_i = \sigma_i^2` a change of the Gram matrix G moves

    .. math:: dv_i = \sum_{j \ne i} v_j \frac{v_j^\top \, dG \, v_i}{\lambda_i - \lambda_j}

    which is built here from G's own change, so that autograd never sees the decomposition.
    """
    norm = torch.linalg.vector_norm(maps.flatten(1), dim=1)[:, None, None]
    flat_BCP = maps.flatten(2) / norm.detach().clamp_min(1e-12)
    energy_BR, vectors_BRC = _decompose(flat_BCP)
    count = min(count, energy_BR.shape[1])
    own_BK1 = energy_BR[:, :count, None]
    vectors_BRC = vectors_BRC.to(maps.dtype)
    chosen_BKC: Tensor = vectors_BRC[:, :count] * (own_BK1 > NOTHING)
    if not maps.requires_grad:
        return chosen_BKC
    turned_BKC = chosen_BKC @ flat_BCP @ flat_BCP.mT
    moved_BKC = turned_BKC - turned_BKC.detach()  # zero, but for its gradient
    along_BKR = moved_BKC @ vectors_BRC.mT
    across_BKC = moved_BKC - along_BKR @ vectors_BRC  # where the map has no energy at all
    gaps_BKR = _inverse(own_BK1 - energy_BR[:, None, :], maps.dtype)
    moved_BKC = (along_BKR * gaps_BKR) @ vectors_BRC
    found: Tensor = chosen_BKC + moved_BKC + across_BKC * _inverse(own_BK1, maps.dtype)
    return found


@torch.no_grad()
def _decompose(flat_BCP: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (B, R), largest first, and right singular vectors (B, R, C), zero without energy."""
    _, channels, pixels = flat_BCP.shape
    flat_BCP = flat_BCP.double()
    wide = channels > pixels
    products = flat_BCP.mT @ flat_BCP if wide else flat_BCP @ flat_BCP.mT
    finite_B11 = products.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    # of what is not finite the solver would raise, and the loss is to be nan
    energy_BR, columns_BCR = torch.linalg.eigh(torch.where(finite_B11, products, 0.0))
    if wide:
        columns_BCR = flat_BCP @ columns_BCR * energy_BR.clamp_min(BLUR).rsqrt()[:, None, :]
        columns_BCR = columns_BCR * (energy_BR > BLUR)[:, None, :]
    columns_BCR = torch.where(finite_B11, columns_BCR, torch.nan)
    return energy_BR.flip(1), columns_BCR.mT.flip(1)


def _inverse(gap: Tensor, dtype: torch.dtype) -> Tensor:
    """One by the gap, but at most half of one by the least that counts, and zero for none."""
    least = max(BLUR, 100 * torch.finfo(dtype).eps)
    return (gap / (gap.square() + least**2)).to(dtype)


def _sign(value: Tensor) -> Tensor:
    return torch.where(value < 0, -1.0, 1.0).to(value.dtype)
