import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from relatum.losses import HCL, ReviewKD
from relatum.losses.review import Fusion
from relatum.types import Fault
from tests.losses.numbers import randn, wave

STUDENT = randn(4, 3, 6, 6), randn(4, 4, 3, 3, seed=1), randn(4, 5, seed=2)
TEACHER = randn(4, 6, 8, 8, seed=3), randn(4, 7, 2, 2, seed=4), randn(4, 9, seed=5)


def grid(maps: Tensor, side: int) -> Tensor:
    """The means over the cells of a grid, where it divides the map."""
    cell = maps.shape[2] // side
    cells = [
        maps[:, :, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell].mean((2, 3))
        for y in range(side)
        for x in range(side)
    ]
    return torch.stack(cells, -1)


@pytest.mark.parametrize(
    ("size", "weights"),
    [(8, {4: 1 / 2, 2: 1 / 4, 1: 1 / 8}), (4, {2: 1 / 2, 1: 1 / 4}), (2, {1: 1 / 2}), (1, {})],
)
def test_equals_a_naive_loop_over_the_smaller_grids(size: int, weights: dict[int, float]) -> None:
    student, teacher = randn(3, 2, size, size), randn(3, 2, size, size, seed=1)
    total = float((student - teacher).square().mean())
    for side, weight in weights.items():
        total += weight * float((grid(student, side) - grid(teacher, side)).square().mean())
    wanted = total / (1 + sum(weights.values()))
    assert float(HCL()(student, teacher)) == pytest.approx(wanted, rel=1e-12)


def test_the_recorded_value() -> None:
    maps = wave((2, 3, 8, 8), 0), wave((2, 3, 8, 8), 0.5)
    assert float(HCL()(*maps)) == pytest.approx(0.07040216, abs=6e-9)


def test_a_constant_difference_weighs_one_whatever_the_size() -> None:
    for size in (1, 3, 4, 8):
        maps = randn(2, 3, size, size)
        assert float(HCL()(maps + 2, maps)) == pytest.approx(4, rel=1e-12)


def test_on_maps_that_are_not_square_the_shorter_side_counts() -> None:
    student, teacher = randn(2, 3, 8, 2), randn(2, 3, 8, 2, seed=1)
    apart = student - teacher
    wanted = (apart.square().mean() + apart.mean((2, 3)).square().mean() / 2) / 1.5
    torch.testing.assert_close(HCL()(student, teacher), wanted)


def test_stages_are_summed() -> None:
    student, teacher = STUDENT[:2], (randn(4, 3, 6, 6, seed=6), randn(4, 4, 3, 3, seed=7))
    alone = [HCL()(s, t) for s, t in zip(student, teacher, strict=True)]
    torch.testing.assert_close(HCL()(student, teacher), alone[0] + alone[1])
    with pytest.raises(Fault, match="must have one shape"):
        HCL()(student, TEACHER[:2])


def made(**named: int) -> ReviewKD:
    torch.manual_seed(0)
    return ReviewKD((3, 4, 5), (6, 7, 9), **named).double()


def norm(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = maps.mean((0, 2, 3), keepdim=True)
    variance = maps.var((0, 2, 3), correction=0, keepdim=True)
    scaled = (maps - mean) / (variance + 1e-5).sqrt()
    return scaled * weight[:, None, None] + bias[:, None, None]


def near(maps: Tensor, size: int) -> Tensor:
    """Every pixel takes the value of the one that its corner falls on."""
    rows = [y * maps.shape[2] // size for y in range(size)]
    return maps[:, :, rows][:, :, :, rows]


def by_hand(loss: ReviewKD) -> Tensor:
    """The review written down once more, from deep to shallow, on the loss's own parameters."""
    own = dict(loss.named_parameters())
    left: Tensor | None = None
    results = []
    for i in (2, 1, 0):
        maps = STUDENT[i] if STUDENT[i].ndim == 4 else STUDENT[i][..., None, None]
        goal = TEACHER[i] if TEACHER[i].ndim == 4 else TEACHER[i][..., None, None]
        name = f"stages.{i}"
        mixed = torch.einsum("oi,bihw->bohw", own[f"{name}.enter.0.weight"][..., 0, 0], maps)
        mixed = norm(mixed, own[f"{name}.enter.1.weight"], own[f"{name}.enter.1.bias"])
        if left is not None:
            left = near(left, mixed.shape[2])
            both = torch.cat([mixed, left], 1)
            weight, bias = own[f"{name}.masks.weight"][..., 0, 0], own[f"{name}.masks.bias"]
            masks = torch.einsum("oi,bihw->bohw", weight, both) + bias[:, None, None]
            masks = 1 / (1 + torch.exp(-masks))
            mixed = mixed * masks[:, :1] + left * masks[:, 1:]
        left = near(mixed, goal.shape[2])
        out = F.conv2d(left, own[f"{name}.leave.0.weight"], padding=1)
        out = norm(out, own[f"{name}.leave.1.weight"], own[f"{name}.leave.1.bias"])
        results.append(HCL()(out, goal))
    return torch.stack(results).sum()


def test_the_review_equals_one_by_hand() -> None:
    loss = made()
    torch.testing.assert_close(loss(STUDENT, TEACHER), by_hand(loss))


def gradients(teacher: tuple[Tensor, ...]) -> list[Tensor]:
    student = tuple(each.clone().requires_grad_() for each in STUDENT)
    return list(torch.autograd.grad(made()(student, teacher), student))


def test_each_stage_of_the_teacher_teaches_the_students_from_there_on() -> None:
    before = gradients(TEACHER)
    for changed in range(3):
        teacher = tuple(t + t.sin() * (i == changed) for i, t in enumerate(TEACHER))
        apart = [
            float((a - b).abs().max()) for a, b in zip(before, gradients(teacher), strict=True)
        ]
        assert all(each == 0 for each in apart[:changed])
        assert all(each > 1e-9 for each in apart[changed:])


def test_a_vector_is_a_map_of_one_pixel() -> None:
    student = *STUDENT[:2], STUDENT[2][..., None, None]
    teacher = *TEACHER[:2], TEACHER[2][..., None, None]
    assert made()(student, teacher) == made()(STUDENT, TEACHER)


@pytest.mark.parametrize(("asked", "got"), [(512, 5), (5, 5), (2, 2)])
def test_the_middle_is_no_wider_than_the_deepest_stage(asked: int, got: int) -> None:
    loss = made(middle_channels=asked)
    assert {stage.enter[0].out_channels for stage in loss.stages} == {got}  # type: ignore[union-attr,index]


def test_the_deepest_stage_has_no_masks() -> None:
    loss = made()
    masks = [stage.masks is not None for stage in loss.stages if isinstance(stage, Fusion)]
    assert masks == [True, True, False]


def test_what_does_not_fit_is_refused() -> None:
    loss = made()
    with pytest.raises(Fault, match="built for 3 stages, got 2"):
        loss(STUDENT[:2], TEACHER[:2])
    with pytest.raises(Fault, match="got 3 of the student and 2 of the teacher"):
        loss(STUDENT, TEACHER[:2])
    with pytest.raises(Fault, match="got 2 student_channels and 1 teacher_channels"):
        ReviewKD((3, 4), (5,))
    alone = [tuple(each[:1] for each in stages) for stages in (STUDENT, TEACHER)]
    with pytest.raises(Fault, match="BatchNorm needs two samples of a stage of one pixel"):
        loss(*alone)
    assert loss.eval()(*alone).isfinite()
