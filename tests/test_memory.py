import pytest
import torch

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
