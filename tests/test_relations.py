import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from relatum import relations

SAMPLES = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LISTS: list[list[float]] = SAMPLES.tolist()


def dot(left: list[float], right: list[float]) -> float:
    return sum(one * other for one, other in zip(left, right, strict=True))


def length(row: list[float]) -> float:
    return math.sqrt(dot(row, row))


def apart(left: list[float], right: list[float]) -> float:
    return length([one - other for one, other in zip(left, right, strict=True)])


def pairwise(entry: Callable[[list[float], list[float]], float]) -> Tensor:
    rows = [[entry(left, right) for right in LISTS] for left in LISTS]
    return torch.tensor(rows, dtype=torch.float64)


def close(have: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(have, want, rtol=1e-12, atol=1e-12)


def cosine(left: list[float], right: list[float]) -> float:
    return dot(left, right) / (length(left) * length(right))


def test_gram() -> None:
    close(relations.gram(SAMPLES), pairwise(dot))


def test_cosine() -> None:
    close(relations.cosine(SAMPLES), pairwise(cosine))


def test_relative() -> None:
    close(relations.relative(SAMPLES), pairwise(cosine))
    close(relations.relative(SAMPLES[:2], SAMPLES[1:]), pairwise(cosine)[:2, 1:])


def test_euclidean() -> None:
    close(relations.euclidean(SAMPLES), pairwise(apart))


def test_distance_is_in_units_of_the_mean() -> None:
    absolute = pairwise(apart)
    close(relations.distance(SAMPLES), absolute / (absolute.sum() / 20))
    off = relations.distance(SAMPLES)[~torch.eye(5, dtype=torch.bool)]
    assert float(off.mean()) == pytest.approx(1)


def test_gaussian() -> None:
    close(
        relations.gaussian(SAMPLES, 0.3),
        pairwise(lambda one, other: math.exp(-0.3 * apart(one, other) ** 2)),
    )
    gamma = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    relations.gaussian(SAMPLES, gamma).sum().backward()  # type: ignore[no-untyped-call]
    assert gamma.grad is not None


def test_angle_is_at_the_first_index() -> None:
    have = relations.angle(SAMPLES)
    for i, j, k in itertools.product(range(5), repeat=3):
        one = [a - b for a, b in zip(LISTS[j], LISTS[i], strict=True)]
        other = [a - b for a, b in zip(LISTS[k], LISTS[i], strict=True)]
        want = cosine(one, other) if i not in (j, k) else 0.0
        assert float(have[i, j, k]) == pytest.approx(want, abs=1e-12)


def test_some_rows_of_all() -> None:
    rows = SAMPLES[1:3]
    for relation in (relations.gram, relations.relative, relations.euclidean):
        close(relation(rows, SAMPLES), relation(SAMPLES, SAMPLES)[1:3])
        close(relation(SAMPLES, SAMPLES), relation(SAMPLES))
    close(relations.angle(SAMPLES, rows), relations.angle(SAMPLES)[1:3])


def test_chosen_angles() -> None:
    triplets = torch.tensor(list(itertools.product(range(5), repeat=3)))
    have = relations.chosen_angles(SAMPLES.view(5, 2, 2), triplets)
    close(have.view(5, 5, 5), relations.angle(SAMPLES))
    torch.autograd.gradcheck(
        lambda samples: relations.chosen_angles(samples, triplets[::7]),
        SAMPLES.clone().requires_grad_(),
    )


@pytest.mark.parametrize(("cuda", "entries"), [(False, 5), (True, 5 * 4)])
def test_what_distances_hold(cuda: bool, entries: int) -> None:
    class Placed(Tensor):
        is_cuda = cuda

    assert relations.held(SAMPLES.view(5, 2, 2).as_subclass(Placed)) == entries


def test_right_angle() -> None:
    corner = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
    angles = relations.angle(corner)
    assert float(angles[0, 1, 2]) == 0
    assert float(angles[1, 0, 2]) == pytest.approx(2 / math.sqrt(29))
    assert float(angles[2, 1, 1]) == pytest.approx(1)


def test_centred() -> None:
    relation = relations.gram(SAMPLES)
    centring = torch.eye(5, dtype=torch.float64) - 1 / 5
    close(relations.centred(relation), centring @ relation @ centring)
    close(relations.centred(relation + 7), relations.centred(relation))


def test_unit() -> None:
    close(relations.unit(SAMPLES).norm(dim=1), torch.ones(5, dtype=torch.float64))
    maps = SAMPLES.view(5, 2, 2)
    close(relations.unit(maps)[1, 0], maps[1, 0] / maps[1, 0].norm())
    assert not relations.unit(torch.zeros(2, 3)).any()
    assert not relations.unit(torch.full((1, 3), 1e-9), eps=1e-8).any()


WHOLE = {
    "gram": relations.gram,
    "cosine": relations.cosine,
    "relative": relations.relative,
    "euclidean": relations.euclidean,
    "distance": relations.distance,
    "angle": relations.angle,
    "gaussian": partial(relations.gaussian, gamma=0.5),
}


@pytest.mark.parametrize("relation", WHOLE.values(), ids=WHOLE)
def test_maps_are_flattened(relation: Callable[[Tensor], Tensor]) -> None:
    assert torch.equal(relation(SAMPLES.view(5, 2, 2)), relation(SAMPLES))


@pytest.mark.parametrize("relation", WHOLE.values(), ids=WHOLE)
def test_gradcheck(relation: Callable[[Tensor], Tensor]) -> None:
    torch.autograd.gradcheck(relation, SAMPLES.clone().requires_grad_())


@pytest.mark.parametrize("relation", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_coinciding_zeros_and_few(relation: Callable[[Tensor], Tensor], rows: int) -> None:
    for samples in (torch.zeros(rows, 4), torch.ones(rows, 4)):
        samples.requires_grad_()
        value = relation(samples)
        assert value.shape[:2] == (rows, rows)
        value.sum().backward()  # type: ignore[no-untyped-call]
        assert value.isfinite().all()
        assert samples.grad is not None
        assert samples.grad.isfinite().all()
        assert not samples.grad.numel() or samples.grad.abs().max() < 1e3


@pytest.mark.parametrize("relation", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_raised(relation: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    half = SAMPLES.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        have = relation(half)
    assert have.dtype == torch.float32
    assert torch.equal(have, relation(half.float()))


def test_close_pairs_far_from_the_origin() -> None:
    """The expansion by dot products would say zero, or anything up to one."""
    samples = 1e4 + torch.tensor([[0.0, 0.0], [0.125, 0.0], [0.0, 0.25]])
    have = relations.euclidean(samples.repeat(20, 1))[:3, :3]
    torch.testing.assert_close(have[0], torch.tensor([0.0, 0.125, 0.25]))


def test_a_zero_vector_relates_to_nothing() -> None:
    samples = SAMPLES.clone()
    samples[2] = 0
    cosines = relations.cosine(samples)
    assert not cosines[2].any()
    assert not cosines[:, 2].any()
    assert not relations.relative(SAMPLES, samples)[:, 2].any()


@pytest.mark.parametrize(
    "relation", [relations.unit, relations.gram, relations.cosine], ids=lambda f: f.__name__
)
def test_second_derivative(relation: Callable[[Tensor], Tensor]) -> None:
    """Gradients that are written out must have a gradient themselves, or silently be wrong."""
    torch.autograd.gradgradcheck(relation, SAMPLES.clone().requires_grad_())


def test_maps_in_any_layout() -> None:
    """Channels last are taken as they lie, but never compared with entries in another order."""
    maps, others = (torch.randn(4, 3, 2, 5, dtype=torch.float64) for _ in range(2))
    wanted = maps.flatten(1) @ others.flatten(1).T
    for one, other in itertools.product((maps, _last(maps)), (others, _last(others))):
        torch.testing.assert_close(relations.gram(one, other), wanted)
        torch.testing.assert_close(relations.gram(one[1:3], other), wanted[1:3])
    torch.testing.assert_close(relations.gram(_last(maps)), relations.gram(maps))
    torch.testing.assert_close(relations.cosine(_last(maps)), relations.cosine(maps))
    leaves = [each.requires_grad_() for each in (maps, _last(maps))]
    grads = [torch.autograd.grad(relations.gram(each).tanh().sum(), each)[0] for each in leaves]
    torch.testing.assert_close(grads[0], grads[1].contiguous())


def test_products_of_half_precision_are_those_of_float32() -> None:
    half = torch.randn(6, 300).bfloat16().requires_grad_()
    raised = half.detach().float().requires_grad_()
    values = relations.gram(half), relations.gram(raised)
    assert torch.equal(*values)
    for value in values:
        value.tanh().sum().backward()  # type: ignore[no-untyped-call]
    assert half.grad is not None
    assert raised.grad is not None
    assert torch.equal(half.grad, raised.grad.bfloat16())


def _last(maps: Tensor) -> Tensor:
    return maps.detach().contiguous(memory_format=torch.channels_last)
