import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from relatum import memory


def test_random_directions() -> None:
    rows = memory.unit_rows(1000, 16, torch.Generator().manual_seed(0))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(1000))
    assert rows.mean(0).abs().max() < 0.05, "no direction is preferred"
    again = memory.unit_rows(1000, 16, torch.Generator().manual_seed(0))
    assert torch.equal(rows, again)
    assert not torch.equal(rows, memory.unit_rows(1000, 16, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize(
    "batches", [[1] * 20, [3] * 9, [8, 8, 8], [2, 7, 0, 19, 4, 40, 1]], ids=str
)
def test_equals_a_list_written_row_by_row(size: int, batches: list[int]) -> None:
    queue, pointer = torch.full((size, 2), -1.0), torch.tensor(0)
    naive, place, row = [[-1.0, -1.0]] * size, 0, 0.0
    for count in batches:
        rows = torch.arange(row, row + count)[:, None] * torch.tensor([1.0, 10.0])
        memory.enqueue(queue, pointer, rows)
        for each in rows.tolist():
            naive[place] = each
            place = (place + 1) % size
        row += count
        assert queue.tolist() == naive
        assert int(pointer) == place


def test_writes_in_place_and_without_gradient() -> None:
    queue, pointer = torch.zeros(4, 2), torch.tensor(3)
    held = queue.data_ptr(), pointer.data_ptr()
    rows = torch.ones(2, 2, requires_grad=True)
    memory.enqueue(queue, pointer, rows * 2)
    assert (queue.data_ptr(), pointer.data_ptr()) == held
    assert not queue.requires_grad
    assert queue.tolist() == [[2, 2], [0, 0], [0, 0], [2, 2]]


def test_keeps_its_own_precision() -> None:
    queue, pointer = torch.zeros(4, 2), torch.tensor(0)
    memory.enqueue(queue, pointer, torch.full((1, 2), 0.1, dtype=torch.float64))
    memory.enqueue(queue, pointer, torch.full((1, 2), 0.1, dtype=torch.bfloat16))
    assert queue.dtype == torch.float32
    assert queue[0, 0] == torch.tensor(0.1)


def test_the_rows_may_change_afterwards() -> None:
    queue, pointer, rows = torch.zeros(4, 2), torch.tensor(0), torch.ones(2, 2)
    memory.enqueue(queue, pointer, rows)
    rows.zero_()
    assert queue[:2].tolist() == [[1, 1], [1, 1]]


def bank(rows: int = 12, dim: int = 4, seed: int = 0) -> Tensor:
    return memory.unit_rows(rows, dim, torch.Generator().manual_seed(seed)).double()


def test_rows_of_a_bank_move_and_keep_their_length() -> None:
    before, new = bank(), 3 * bank(2, seed=1)
    after = before.clone()
    memory.blend(after, torch.tensor([7, 2]), new, 0.25)
    for place, row in ((7, new[0]), (2, new[1])):
        moved = 0.25 * before[place] + 0.75 * row
        torch.testing.assert_close(after[place], moved / moved.norm())
    rest = [place for place in range(12) if place not in (2, 7)]
    assert torch.equal(after[rest], before[rest])


def test_a_place_that_comes_twice_gets_the_mean_in_any_order() -> None:
    new, places = bank(4, seed=1), torch.tensor([5, 3, 5, 5])
    one, other, wanted = bank(), bank(), bank()
    memory.blend(one, places, new, 0.5)
    order = torch.tensor([2, 3, 0, 1])
    memory.blend(other, places[order], new[order], 0.5)
    torch.testing.assert_close(one, other)
    memory.blend(wanted, torch.tensor([5, 3]), torch.stack([new[[0, 2, 3]].mean(0), new[1]]), 0.5)
    torch.testing.assert_close(one, wanted)


def test_a_bank_keeps_its_precision_and_no_graph() -> None:
    rows = bank(2, seed=1).float().requires_grad_()
    after = bank(dim=4)
    memory.blend(after, torch.tensor([0, 1]), rows, 0.5)
    assert after.dtype == torch.float64
    assert not after.requires_grad


def test_opposite_rows_leave_zero_and_not_nan() -> None:
    after = bank()
    memory.blend(after, torch.tensor([0]), -after[:1], 0.5)
    assert after[0].tolist() == [0, 0, 0, 0]


@pytest.fixture(params=[memory.AT_ONCE, 30, 1], ids="at once {}".format)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AT_ONCE", request.param)


@pytest.mark.usefixtures("at_once")
def test_similarities_are_those_of_gathered_rows() -> None:
    rows, stored = bank(5, seed=1).requires_grad_(), bank()
    places = torch.tensor([[0, 3, 3], [1, 0, 11], [2, 2, 2], [4, 5, 6], [11, 10, 9]])
    found = memory.similarities(rows, stored, places)
    wanted = (stored[places] @ rows[:, :, None]).squeeze(2)
    torch.testing.assert_close(found, wanted)
    weights = bank(5, 3, seed=2)
    (slope,) = torch.autograd.grad(found, rows, weights)
    torch.testing.assert_close(slope, (weights[:, None] @ stored[places]).squeeze(1))
    torch.testing.assert_close(memory.combine(weights, stored, places), slope)


LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 1, 0, 2, 1, 0, 2])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("count", [1, 4, 7])
def test_negatives_are_distinct_and_of_other_classes(count: int) -> None:
    places = torch.arange(12)
    for key in range(50):
        drawn = memory.draw(places, count, torch.tensor(key), LABELS)
        assert drawn.shape == (12, count)
        for place, row in enumerate(drawn):
            assert len(set(row.tolist())) == count
            assert not (LABELS[row] == LABELS[place]).any()


def test_all_others_are_drawn_when_all_are_asked_for() -> None:
    drawn = memory.draw(torch.arange(12), 11, torch.tensor(3), 12)
    for place, row in enumerate(drawn.tolist()):
        assert sorted(row) == [other for other in range(12) if other != place]


def chosen(drawn: Tensor) -> list[set[int]]:
    return [set(row) for row in drawn.tolist()]


@pytest.mark.usefixtures("at_once")
def test_a_choice_hangs_on_key_and_place_alone() -> None:
    """Not on the rest of the batch, nor on how it is cut: so all ranks draw the same."""
    places, key = torch.tensor([4, 9, 0, 7, 2]), torch.tensor(8)
    together = chosen(memory.draw(places, 5, key, LABELS))
    for place, row in zip(places, together, strict=True):
        assert chosen(memory.draw(place[None], 5, key, LABELS)) == [row]
    assert chosen(memory.draw(places.flip(0), 5, key, LABELS)) == together[::-1]


def test_keys_and_places_choose_differently() -> None:
    rows = [
        tuple(sorted(row))
        for key in (0, 1, 2, 2**31 - 1, 2**31)
        for row in chosen(memory.draw(torch.arange(200), 20, torch.tensor(key), 1000))
    ]
    assert len(set(rows)) == len(rows)


def test_the_key_stays() -> None:
    key = torch.tensor(5)
    memory.draw(torch.arange(3), 2, key, 9)
    assert key == 5


def test_every_choice_is_as_likely() -> None:
    """By chi-square over the 15 pairs, each of which four of the six places may draw."""
    counts: Counter[tuple[int, ...]] = Counter()
    for key in range(3000):
        for row in memory.draw(torch.arange(6), 2, torch.tensor(key), 6).tolist():
            counts[tuple(sorted(row))] += 1
    expected = 4 * 3000 / 10
    assert len(counts) == 15
    square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert square < 40, "1 in 4,000 fair ones has more"


def test_choices_overlap_as_independent_ones_do() -> None:
    """The share that two samples have in common is hypergeometric: mean K²/N and its spread."""
    size, count, rows = 2000, 600, 100
    drawn = memory.draw(torch.arange(rows), count, torch.tensor(1), torch.arange(size) // rows)
    marks = torch.zeros(rows, size).scatter_(1, drawn, 1)
    pairs = torch.triu_indices(rows, rows, offset=1)
    common = (marks @ marks.T)[pairs[0], pairs[1]]
    share = count / (size - rows)
    spread = math.sqrt(count * share * (1 - share) * (1 - share))
    assert float(common.mean()) == pytest.approx(count * share, abs=1)
    assert float(common.std()) == pytest.approx(spread, rel=0.05)
    successive = memory.draw(torch.arange(rows), count, torch.tensor(2), torch.arange(size) // rows)
    again = (marks * torch.zeros(rows, size).scatter_(1, successive, 1)).sum(1)
    assert float(again.mean()) == pytest.approx(count * share, abs=8)


def test_known_numbers() -> None:
    """What was drawn before is drawn again, on every machine and by every version."""
    drawn = memory.draw(torch.tensor([0, 5]), 4, torch.tensor(7), 100)
    assert chosen(drawn) == [{20, 38, 67, 73}, {34, 47, 53, 91}]


@pytest.mark.parametrize("below", [6, 7])
@pytest.mark.parametrize(("keys", "rows"), [(1, 60_000), (1200, 50)])
def test_integers_are_uniform_and_independent(below: int, keys: int, rows: int) -> None:
    """By chi-square over all triples, whose mean and spread follow from the degrees of freedom.

    Many draws of few rows count as one of many: a row must not be alike from key to key.
    """
    every = [memory.integers(rows, 3, below, torch.tensor(key)) for key in range(keys)]
    drawn = torch.cat(every)
    assert drawn.dtype == torch.long
    assert len(drawn) == 60_000
    for columns in ([0, 1, 2], [0, 1], [1, 2], [0, 2], [0]):
        places = torch.tensor([below**power for power in range(len(columns))])
        cells = below ** len(columns)
        counts = torch.bincount((drawn[:, columns] * places).sum(1), minlength=cells).double()
        square = float((counts - 60_000 / cells).square().sum() / (60_000 / cells))
        assert abs(square - (cells - 1)) < 4 * math.sqrt(2 * (cells - 1))


def test_integers_hang_on_key_and_place_alone() -> None:
    few, many = (memory.integers(n, 3, 1000, torch.tensor(7)) for n in (50, 80))
    assert torch.equal(many[:50], few)
    keys = (0, 1, 2, 2**31 - 1, 2**31)
    others = [memory.integers(200, 3, 1000, torch.tensor(key)) for key in keys]
    for one, other in itertools.combinations(others, 2):
        assert (one == other).double().mean() < 0.02, "a thousandth are equal by chance"
    key = torch.tensor(5)
    memory.integers(3, 2, 9, key)
    assert key == 5


def test_known_integers() -> None:
    """What was drawn before is drawn again, on every machine and by every version."""
    assert memory.integers(2, 3, 100, torch.tensor(7)).tolist() == [[68, 30, 36], [18, 83, 48]]
