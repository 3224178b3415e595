"""From a batch of embeddings to the matrix of how its samples relate.

Whatever lies behind the batch axis is flattened first, so maps and tokens are as good as
vectors. Everything runs in float32 or better, also under autocast.

Shape legend: B = batch, D = dimension, K = anchors.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from relatum.precision import HALVES, exact
from relatum.types import FeatureMap

Relation = Float[Tensor, "batch batch"]
Triplets = Float[Tensor, "batch batch batch"]
Relative = Float[Tensor, "batch anchors"]


@exact
def unit(rows: Tensor, eps: float = 1e-12) -> Tensor:
    r"""Scale the last axis to length one: :math:`x / \max(\|x\|_2, \epsilon)`.

    A vector shorter than ``eps`` becomes zero and sends no gradient. (Plain division by the
    clamped norm would send one :math:`1/\epsilon` times too large.)
    """
    unit_rows: Tensor = _Unit.apply(rows, eps)
    return unit_rows


class _Unit(torch.autograd.Function):
    """With the gradient written out: autograd's own goes over the rows three times as often."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, eps: float) -> Tensor:
        ctx.eps = eps
        unit_rows = rows / _length(rows, eps)
        ctx.save_for_backward(rows, unit_rows)
        return unit_rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        rows, unit_rows = ctx.saved_tensors
        along = (grad * unit_rows).sum(-1, keepdim=True)
        # lengths anew, not kept: they have a derivative too, for whoever asks for a second one
        across = torch.addcmul(grad, unit_rows, along, value=-1)
        return across.div_(_length(rows, ctx.eps)), None


def _length(rows: Tensor, eps: float) -> Tensor:
    """Of each row; of one that is shorter than ``eps`` infinite, so that nothing is left of it."""
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return torch.where(norm <= eps, torch.inf, norm)


def gram(features: FeatureMap, others: FeatureMap | None = None) -> Relation:
    r"""Dot products of all pairs: :math:`G_{ij} = \langle x_i, x_j \rangle`, not normalised.

    Half precision goes into the product as it is, where that adds up and answers in float32: a
    product of two such numbers is exact there, so nothing is lost, and no copy is made.

    Args:
        features: the samples of the rows.
        others: those of the columns; the same when ``None``.
    """
    if others is None or others is features:
        return own_products(_flat(features)[0])
    rows_BD, others_KD = _flat(features, others)
    return _products(rows_BD, others_KD)


def own_products(rows: Tensor) -> Tensor:
    r"""Dot products of rows with each other, :math:`X X^\top`, of a matrix or of many.

    With one product in the backward pass, :math:`(D + D^\top) X`, where autograd makes two.
    """
    products: Tensor = _OwnProducts.apply(rows)
    return products


class _OwnProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return _multiplied(rows, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        return _slope(grad, rows).to(rows.dtype)


def _multiplied(rows: Tensor, others: Tensor) -> Tensor:
    """In float32 or better, of rows that may be in half precision."""
    if rows.is_cuda and rows.ndim == 2 and rows.dtype in HALVES and others.dtype == rows.dtype:
        return torch.mm(rows, others.mT, out_dtype=torch.float32)
    return _products(rows, others)


@exact
def _products(rows: Tensor, others: Tensor) -> Tensor:
    return rows @ others.mT


@exact
def _slope(grad: Tensor, rows: Tensor) -> Tensor:
    return (grad + grad.mT) @ rows


def _flat(*features: FeatureMap) -> list[Tensor]:
    """A row for each sample, all in one order of entries; no copy is made of maps channels last."""
    if all(_channels_last(each) for each in features):
        return [each.permute(0, 2, 3, 1).flatten(1) for each in features]
    return [each.flatten(1) for each in features]


def _channels_last(features: Tensor) -> bool:
    """Whether a map lies so, and not in the usual order as well."""
    return (
        features.ndim == 4
        and features.is_contiguous(memory_format=torch.channels_last)
        and not features.is_contiguous()
    )


@exact
def cosine(features: FeatureMap, eps: float = 1e-12) -> Relation:
    r"""Cosines of all pairs, :math:`\langle \hat x_i, \hat x_j \rangle`; zero for a zero vector.

    Invariant to rotation and to the length of every sample; not to translation.
    """
    return own_products(unit(_flat(features)[0], eps))


@exact
def relative(
    features: FeatureMap, anchors: FeatureMap | None = None, eps: float = 1e-12
) -> Relative:
    r"""The relative representation :math:`r(x)_k = \cos(x, a_k)` (Moschella et al., 2023).

    Args:
        features: B samples.
        anchors: K samples, embedded by the same network; the batch itself when ``None``.
        eps: vectors shorter than this count as zero.
    """
    if anchors is None:
        return cosine(features, eps)
    return unit(features.flatten(1), eps) @ unit(anchors.flatten(1), eps).T


@exact
def euclidean(features: FeatureMap, others: FeatureMap | None = None) -> Relation:
    r"""Distances of all pairs, :math:`\|x_i - x_j\|_2`, in the units of the features.

    Differences are taken before they are squared: the expansion by dot products loses close
    pairs to cancellation. Coinciding samples have distance zero and send no gradient.

    Args:
        features: the samples of the rows.
        others: those of the columns; the same when ``None``.
    """
    flat_BD = features.flatten(1)
    flat_KD = flat_BD if others is None else others.flatten(1)
    return torch.cdist(flat_BD, flat_KD, compute_mode="donot_use_mm_for_euclid_dist")


def held(features: FeatureMap) -> int:
    """Entries that ``euclidean`` holds for each row: B, but B times D on CUDA.

    There the backward pass of ``torch.cdist`` makes every difference before it adds them.
    """
    batch = len(features)
    return batch * features[0].numel() if features.is_cuda and batch else batch


@exact
def distance(features: FeatureMap, eps: float = 1e-6) -> Relation:
    r"""Distances in units of their mean, :math:`\|x_i - x_j\|_2 / \mu`, so two scales compare.

    :math:`\mu` is the mean over the pairs :math:`i \ne j`; the diagonal is zero. Distances
    are clamped from below at ``eps`` (RKD's authors clamp their squares at 1e-12).
    """
    absolute_BB = euclidean(features).clamp_min(eps)
    off_BB = ~torch.eye(len(absolute_BB), dtype=torch.bool, device=absolute_BB.device)
    absolute_BB = absolute_BB * off_BB
    pairs = max(len(absolute_BB) * (len(absolute_BB) - 1), 1)
    return absolute_BB / (absolute_BB.sum() / pairs).clamp_min(eps)


@exact
def angle(features: FeatureMap, corners: FeatureMap | None = None, eps: float = 1e-12) -> Triplets:
    r"""Cosine of the angle at :math:`x_i` between :math:`x_j` and :math:`x_k`, at ``[i, j, k]``.

    Zero where i coincides with j or k. Cubic in the batch: 64 MB at B = 256 in float32.

    Args:
        features: the samples j and k.
        corners: the samples i; the same when ``None``.
        eps: samples closer than this coincide.
    """
    flat_BD = features.flatten(1)
    corners_BD = flat_BD if corners is None else corners.flatten(1)
    towards_BBD = unit(flat_BD[None] - corners_BD[:, None], eps)
    return towards_BBD @ towards_BBD.mT


@exact
def chosen_angles(
    features: FeatureMap, triplets: Int[Tensor, "triplets 3"], eps: float = 1e-12
) -> Float[Tensor, " triplets"]:
    """Cosines of the angles of ``angle``, of the triplets (i, j, k) in the rows alone."""
    flat_BD = features.flatten(1)
    corner, one, other = (flat_BD.index_select(0, places) for places in triplets.unbind(1))
    return (unit(one - corner, eps) * unit(other - corner, eps)).sum(1)


@exact
def gaussian(features: FeatureMap, gamma: float | Tensor) -> Relation:
    r"""The Gaussian kernel :math:`\exp(-\gamma \|x_i - x_j\|_2^2)`."""
    return torch.exp(-gamma * euclidean(features).square())


@exact
def centred(relation: Relation) -> Relation:
    r"""Take the mean of its row and of its column from every entry: :math:`HRH`.

    Relations of activations are all near their common mean (cosines of non-negative vectors
    are near one); what tells samples apart is what centring leaves.
    """
    rows = relation - relation.mean(dim=1, keepdim=True)
    return rows - rows.mean(dim=0, keepdim=True)
