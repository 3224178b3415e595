"""ReviewKD, distilling by knowledge review (Chen et al., CVPR 2021, arXiv 2104.09044)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum.divergences import same, squares
from relatum.losses.connect import Maps, convolution, paired, pool
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar

LEVELS = (4, 2, 1)
"""Side of the grids that maps are average-pooled to, beside their own size."""
WIDEST = 512


class HCL(nn.Module):
    r"""Match maps at their own size and on coarser grids: the hierarchical context loss.

    .. math::
        \mathcal L = \sum_{stages} \frac{\mathrm{MSE}(S, T) + \sum_{l} w_l \, \mathrm{MSE}(
        \mathrm{pool}_l S, \mathrm{pool}_l T)}{1 + \sum_l w_l}

    over the grids of 4, 2 and 1 pixels a side that are smaller than the map; the first of them
    weighs 1/2, the next half as much.

    Equal to dvlab-research/ReviewKD's code. Differs from it on maps that are not square: theirs
    looks at the height alone, ours at the shorter side.

    Example:
        >>> maps = torch.randn(8, 16, 8, 8)
        >>> HCL()(maps, maps)
        tensor(0.)
    """

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, channels, height, width) to a scalar; tuples, stage by stage, are summed.

        Raises:
            Fault: the networks differ in stages, samples or shapes.
        """
        pairs = paired("HCL", student, teacher)
        return torch.stack([_in_context(s, t) for s, t in pairs]).sum()


class Fusion(nn.Module):
    """Mixes a stage with what the deeper ones left, pixel by pixel: attention based fusion.

    Args:
        entering: channels of the student's stage.
        middle: channels of what is handed on to the next shallower stage.
        leaving: channels of the teacher's stage.
        deepest: whether there is no deeper stage.
    """

    def __init__(self, entering: int, middle: int, leaving: int, deepest: bool) -> None:
        super().__init__()
        self.enter = convolution(entering, middle)
        self.masks = None if deepest else nn.Conv2d(2 * middle, 2, 1)
        self.leave = convolution(middle, leaving, kernel=3)
        for layers in (self.enter, self.leave):
            nn.init.kaiming_uniform_(layers.get_parameter("0.weight"), a=1)

    def forward(
        self, maps: FeatureMap, deeper: FeatureMap | None, size: Sequence[int]
    ) -> tuple[FeatureMap, FeatureMap]:
        """A stage and what deeper ones left, to what meets the teacher's, and what is left now.

        Args:
            maps: the student's stage.
            deeper: what the next deeper one left; ``None`` at the deepest.
            size: height and width of the teacher's stage.
        """
        mixed: FeatureMap = self.enter(maps)
        if self.masks is not None:
            assert deeper is not None
            first, second = self._masks(self.masks, mixed, deeper)
            mixed = torch.addcmul(mixed * first, _resized(deeper, mixed.shape[2:]), second)
        mixed = _resized(mixed, size)
        return self.leave(mixed), mixed

    def _masks(
        self, layer: nn.Conv2d, mixed: FeatureMap, deeper: FeatureMap
    ) -> tuple[FeatureMap, FeatureMap]:
        """What a convolution of both, one behind the other, makes of them, without joining them.

        A pixel of the deeper one is looked at once, before it is repeated to the larger size.
        """
        weight, other_weight = layer.weight.chunk(2, dim=1)
        seen = F.conv2d(mixed, weight, layer.bias)
        seen = seen + _resized(F.conv2d(deeper, other_weight), seen.shape[2:])
        first, second = torch.sigmoid(seen).chunk(2, dim=1)
        return first, second


class ReviewKD(nn.Module):
    r"""Match each of the teacher's stages with all of the student's from there on.

    .. math:: \mathcal L = \mathrm{HCL}\big( (R_1, \dots, R_n), (T_1, \dots, T_n) \big)

    From the deepest stage to the shallowest, the student's stage, brought to M channels by a 1x1
    convolution and BatchNorm, is mixed with what the deeper stages left, by two masks that a 1x1
    convolution and a sigmoid read off both. The mixture, resized to the teacher's stage
    (nearest), is left to the next, and gives :math:`R_i` by a 3x3 convolution and BatchNorm.

    A vector (B, D) counts as a map of one pixel: the deepest stage of both networks is the
    embedding. The authors read the student's stages after their ReLU, the teacher's before.

    Equal to mdistiller's code, whose sizes are written into its configurations and are the maps'
    own here. It weighs the loss 1, 5 for resnet32x4 to resnet8x4, after a linear warm-up of 20 of
    240 epochs; the authors weigh it per pair, 0.6 to 8.

    Args:
        student_channels: of the student's stages, shallow to deep; of a vector, its width.
        teacher_channels: of the teacher's, as many.
        middle_channels: M at most; 512 as published. It is no more than the student's deepest
            stage has.

    Raises:
        Fault: the stages do not pair, there are none, or a number of channels is not positive.

    Example:
        >>> loss = ReviewKD(student_channels=(8, 16), teacher_channels=(32, 64))
        >>> student = torch.randn(4, 8, 6, 6), torch.randn(4, 16)
        >>> teacher = torch.randn(4, 32, 8, 8), torch.randn(4, 64)
        >>> bool(loss(student, teacher) > 0)
        True
    """

    relational = True  # by its BatchNorm

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        middle_channels: int = WIDEST,
    ) -> None:
        super().__init__()
        if not student_channels or len(student_channels) != len(teacher_channels):
            raise Fault(
                f"ReviewKD pairs stages one to one: got {len(student_channels)} student_channels"
                f" and {len(teacher_channels)} teacher_channels"
            )
        middle = min(middle_channels, student_channels[-1])
        last = len(student_channels) - 1
        self.stages = nn.ModuleList(
            Fusion(entering, middle, leaving, deepest=stage == last)
            for stage, (entering, leaving) in enumerate(
                zip(student_channels, teacher_channels, strict=True)
            )
        )
        self.loss = HCL()

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, channels, height, width) or vectors, one for each stage, to a scalar.

        Raises:
            Fault: the networks differ in stages or samples, the stages are not as many as it was
                built for, or a batch of one has a stage of one pixel, which BatchNorm refuses.
        """
        pairs = paired("ReviewKD", _as_maps(student), _as_maps(teacher))
        if len(pairs) != len(self.stages):
            raise Fault(f"ReviewKD was built for {len(self.stages)} stages, got {len(pairs)}")
        if self.training and any(_values(maps) < 2 for pair in pairs for maps in pair):
            raise Fault("ReviewKD: BatchNorm needs two samples of a stage of one pixel, got one")
        reviewed: list[FeatureMap] = []
        left: FeatureMap | None = None
        for stage, (maps, goal) in reversed(list(zip(self.stages, pairs, strict=True))):
            review, left = stage(maps, left, goal.shape[2:])
            reviewed.insert(0, review)
        scalar: Scalar = self.loss(tuple(reviewed), tuple(goal for _, goal in pairs))
        return scalar


def _in_context(student: FeatureMap, teacher: FeatureMap) -> Scalar:
    same(student, teacher)
    apart = student - teacher
    exact_grids = all(length % LEVELS[0] == 0 for length in apart.shape[2:])
    loss, weights, weight = _mean_square(apart), 1.0, 1.0
    coarse = apart  # what is pooled apart is apart when pooled
    for side in LEVELS:
        if side < min(student.shape[2:]):
            weight /= 2
            # a grid of equal cells is pooled further from itself, which is smaller
            coarse = pool(coarse if exact_grids else apart, side, side)
            loss = loss + weight * _mean_square(coarse)
            weights += weight
    return loss / weights


def _mean_square(values: Tensor) -> Scalar:
    return squares(values) / values.numel()


def _resized(maps: FeatureMap, size: Sequence[int]) -> FeatureMap:
    return maps if maps.shape[2:] == tuple(size) else F.interpolate(maps, tuple(size))


def _as_maps(value: Maps) -> Maps:
    if isinstance(value, Tensor):
        return value[..., None, None] if value.ndim == 2 else value
    return tuple(each[..., None, None] if each.ndim == 2 else each for each in value)


def _values(maps: FeatureMap) -> int:
    """How many numbers of one channel BatchNorm takes the mean of."""
    return len(maps) * maps.shape[2:].numel()
