import pytest
import torch
import torch.nn.functional as F
from torch import nn

from relatum.losses.connect import connector, paired, pool, pooled, same_channels
from relatum.types import Fault
from tests.losses.numbers import randn


def test_the_larger_map_is_averaged_over_blocks() -> None:
    student, teacher = randn(2, 3, 8, 8), randn(2, 5, 4, 2, seed=1)
    small, same = pooled(student, teacher)
    assert same is teacher
    blocks = student.view(2, 3, 4, 2, 2, 4).mean((3, 5))
    torch.testing.assert_close(small, blocks)
    other, small = pooled(teacher, student)
    assert other is teacher
    torch.testing.assert_close(small, blocks)


def test_each_axis_is_pooled_by_itself() -> None:
    student, teacher = pooled(randn(2, 3, 8, 2), randn(2, 5, 4, 6))
    assert student.shape == (2, 3, 4, 2)
    assert teacher.shape == (2, 5, 4, 2)


def test_sizes_that_do_not_divide_are_pooled_too() -> None:
    student, _ = pooled(randn(1, 1, 5, 5), randn(1, 1, 3, 3))
    assert student.shape == (1, 1, 3, 3)


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel", "stride"),
    [
        ((8, 8), (8, 8), nn.Conv2d, (1, 1), (1, 1)),
        ((8, 8), (4, 4), nn.Conv2d, (3, 3), (2, 2)),
        ((2, 2), (1, 1), nn.Conv2d, (3, 3), (2, 2)),
        ((8, 8), (16, 16), nn.ConvTranspose2d, (4, 4), (2, 2)),
        ((1, 1), (2, 2), nn.ConvTranspose2d, (4, 4), (2, 2)),
        ((8, 8), (7, 7), nn.Conv2d, (2, 2), (1, 1)),
        ((8, 8), (2, 2), nn.Conv2d, (7, 7), (1, 1)),
        ((8, 6), (4, 6), nn.Conv2d, (3, 1), (2, 1)),
        ((4, 6), (8, 6), nn.ConvTranspose2d, (4, 1), (2, 1)),
    ],
)
@pytest.mark.parametrize("relu", [True, False])
def test_a_connector_leads_from_shape_to_shape(
    student: tuple[int, int],
    teacher: tuple[int, int],
    kind: type[nn.Conv2d | nn.ConvTranspose2d],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    relu: bool,
) -> None:
    made = connector((3, *student), (5, *teacher), relu=relu)
    first = made[0]
    assert isinstance(first, kind)
    assert (first.kernel_size, first.stride) == (kernel, stride)
    assert first.bias is None, "BatchNorm would take it away again"
    assert [type(each) for each in made[1:]] == [nn.BatchNorm2d, *([nn.ReLU] if relu else [])]
    maps = made(torch.randn(2, 3, *student))
    assert maps.shape == (2, 5, *teacher)
    assert bool((maps < 0).any()) is not relu


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((3, 4, 4), (5, 6, 6)),
        ((3, 4, 4), (5, 9, 9)),
        ((3, 4, 4), (5, 8, 2)),
        ((3, 4, 8), (5, 8, 4)),
    ],
)
def test_what_no_connector_leads_to_is_refused(
    student: tuple[int, ...], teacher: tuple[int, ...]
) -> None:
    with pytest.raises(Fault, match=r"no convolution of this kind leads from .* 4x. to .* [689]x"):
        connector(student, teacher)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (0, 4, 4), (2, 3, 4, 4)])
def test_what_is_no_shape_of_a_map_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Fault, match=r"a map's shape is \(channels, height, width\), got"):
        connector(shape, (3, 4, 4))
    with pytest.raises(Fault, match="a map's shape"):
        connector((3, 4, 4), shape)


def test_one_map_is_a_stage_and_the_teachers_is_detached() -> None:
    student, teacher = randn(2, 3, 4, 4).requires_grad_(), randn(2, 5, 4, 4).requires_grad_()
    ((own, other),) = paired("L", student, teacher)
    assert own is student
    assert not other.requires_grad


def test_what_cannot_be_paired_is_refused() -> None:
    maps, other = randn(2, 3, 4, 4), randn(3, 3, 4, 4)
    with pytest.raises(Fault, match="L pairs stages one to one: got 2 of the student and 1"):
        paired("L", (maps, maps), maps)
    with pytest.raises(Fault, match="L: 2 samples of the student, 3 of the teacher"):
        paired("L", maps, other)
    with pytest.raises(Fault, match=r"L takes maps .*, got \(2, 48\)"):
        paired("L", maps.flatten(1), maps)
    with pytest.raises(Fault, match=r"pooling takes maps .*, got \(2, 48\)"):
        pooled(maps, maps.flatten(1))
    with pytest.raises(Fault, match="layer 2 of 2 has 3 in the student and 4 in the teacher"):
        same_channels("L", [(maps, maps), (maps, randn(2, 4, 4, 4))])


@pytest.mark.parametrize("size", [(4, 6), (2, 3), (1, 1), (4, 2), (3, 5), (4, 3)])
def test_equals_adaptive_pooling(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6)
    assert torch.equal(pool(maps, *size), F.adaptive_avg_pool2d(maps, size))


def test_half_precision_is_raised_before_it_is_averaged() -> None:
    maps = torch.randn(2, 3, 4, 6).bfloat16()
    assert torch.equal(pool(maps, 2, 3), pool(maps.float(), 2, 3))
    assert pool(maps, 4, 6) is maps
