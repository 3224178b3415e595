"""Make the feature maps of two networks comparable: pair them, pool them, connect them."""

import torch.nn.functional as F
from torch import Tensor, nn

from relatum.divergences import same_samples
from relatum.precision import exact
from relatum.types import Fault, FeatureMap

Maps = FeatureMap | tuple[FeatureMap, ...]
"""One map, or those of several stages, shallow to deep."""
Shape = tuple[int, ...]
"""Channels, height and width: a map's shape without the batch axis."""
Shapes = tuple[Shape, ...]


def paired(name: str, student: Maps, teacher: Maps) -> list[tuple[FeatureMap, FeatureMap]]:
    """Maps of both networks, stage by stage; a map alone is a stage. The teacher's are detached.

    Raises:
        Fault: the networks differ in stages or samples, or something is no map.
    """
    students = (student,) if isinstance(student, Tensor) else tuple(student)
    teachers = (teacher,) if isinstance(teacher, Tensor) else tuple(teacher)
    if len(students) != len(teachers):
        raise Fault(
            f"{name} pairs stages one to one: got {len(students)} of the student and"
            f" {len(teachers)} of the teacher; name as many of each"
        )
    for each, other in zip(students, teachers, strict=True):
        _maps(name, each, other)
        same_samples(name, each, other)
    return [(each, other.detach()) for each, other in zip(students, teachers, strict=True)]


def pooled(student: FeatureMap, teacher: FeatureMap) -> tuple[FeatureMap, FeatureMap]:
    """Average-pool the larger of two maps to the size of the smaller, on each axis its own.

    A map that has the size already comes back as it is. As in RepDistiller, which looks at the
    height alone and so takes maps for square.

    Raises:
        Fault: one of them is no map (B, channels, height, width).

    Example:
        >>> import torch
        >>> student, teacher = pooled(torch.randn(2, 8, 16, 16), torch.randn(2, 32, 4, 4))
        >>> student.shape, teacher.shape
        (torch.Size([2, 8, 4, 4]), torch.Size([2, 32, 4, 4]))
    """
    _maps("pooling", student, teacher)
    height = min(student.shape[2], teacher.shape[2])
    width = min(student.shape[3], teacher.shape[3])
    return pool(student, height, width), pool(teacher, height, width)


def same_channels(name: str, pairs: list[tuple[FeatureMap, FeatureMap]]) -> None:
    """Refuse pairs of maps whose channels cannot be compared one to one.

    Raises:
        Fault: two numbers of channels differ; names the first such layer.
    """
    for place, (student, teacher) in enumerate(pairs, start=1):
        if student.shape[1] != teacher.shape[1]:
            raise Fault(
                f"{name} compares channels one to one: layer {place} of {len(pairs)} has"
                f" {student.shape[1]} in the student and {teacher.shape[1]} in the teacher"
            )


def connector(student_shape: Shape, teacher_shape: Shape, relu: bool = True) -> nn.Sequential:
    """A convolution and BatchNorm, perhaps ReLU, from the student's shape to the teacher's.

    On an axis where the student has twice the teacher's size the convolution is 3 wide with
    stride 2; where it has half of it, transposed, 4 wide with stride 2; where it is larger
    otherwise, or equal, unpadded and ``1 + difference`` wide. Equal to RepDistiller's regressor
    but for the convolution's bias, which BatchNorm takes away again, and for maps that are not
    square.

    Args:
        student_shape: channels, height and width, without the batch.
        teacher_shape: likewise.
        relu: end with a ReLU, for a target that is never negative.

    Raises:
        Fault: the shapes are none of maps, or no such convolution leads from one to the other.

    Example:
        >>> import torch
        >>> connector((16, 8, 8), (64, 16, 16))(torch.randn(2, 16, 8, 8)).shape
        torch.Size([2, 64, 16, 16])
    """
    for shape in (student_shape, teacher_shape):
        if len(shape) != 3 or not all(size > 0 for size in shape):
            raise Fault(f"a map's shape is (channels, height, width), got {tuple(shape)}")
    (entering, *student_size), (leaving, *teacher_size) = student_shape, teacher_shape
    ways = [_way(s, t) for s, t in zip(student_size, teacher_size, strict=True)]
    grows = any(s < t for s, t in zip(student_size, teacher_size, strict=True))
    shrinks = any(s > t for s, t in zip(student_size, teacher_size, strict=True))
    if None in ways or (grows and shrinks):
        raise Fault(
            "no convolution of this kind leads from the student's map of"
            f" {'x'.join(map(str, student_size))} to the teacher's of"
            f" {'x'.join(map(str, teacher_size))}: pair maps of which the student's is at least"
            " as large, or half as large"
        )
    kernel, stride, padding = zip(*filter(None, ways), strict=True)
    kind = nn.ConvTranspose2d if grows else nn.Conv2d
    layers: list[nn.Module] = [
        kind(entering, leaving, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(leaving),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


def convolution(entering: int, leaving: int, kernel: int = 1, relu: bool = False) -> nn.Sequential:
    """A convolution that keeps the size of a map, then BatchNorm, perhaps ReLU.

    The convolution has no bias, which BatchNorm would take away again.

    Args:
        entering: channels of the student's map.
        leaving: channels of the teacher's.
        kernel: its height and width, odd.
        relu: end with a ReLU, for a target that is never negative.

    Raises:
        Fault: a map without channels.
    """
    if entering < 1 or leaving < 1:
        raise Fault(f"a map has at least 1 channel, got {entering} and {leaving}")
    layers: list[nn.Module] = [
        nn.Conv2d(entering, leaving, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(leaving),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


def _way(student: int, teacher: int) -> tuple[int, int, int] | None:
    """Kernel, stride and padding that lead from one size to another along one axis."""
    if student == 2 * teacher:
        return 3, 2, 1
    if 2 * student == teacher:
        return 4, 2, 1
    return (1 + student - teacher, 1, 0) if student >= teacher else None


def pool(maps: FeatureMap, height: int, width: int) -> FeatureMap:
    """Average-pool maps to a size, in float32; those that have it come back as they are."""
    return maps if maps.shape[2:] == (height, width) else _pool(maps, height, width)


@exact
def _pool(maps: FeatureMap, height: int, width: int) -> FeatureMap:
    old_height, old_width = maps.shape[2:]
    cells = old_height % height == 0 == old_width % width
    if cells and (height, width) != (1, 1):  # to which torch has a mean of its own
        # the same bits in half the time; on CUDA its backward pass adds up in one order
        return F.avg_pool2d(maps, (old_height // height, old_width // width))
    return F.adaptive_avg_pool2d(maps, (height, width))


def _maps(name: str, *values: Tensor) -> None:
    for value in values:
        if value.ndim != 4:
            raise Fault(
                f"{name} takes maps (samples, channels, height, width), got {tuple(value.shape)}"
            )
