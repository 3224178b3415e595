from typing import Any

import pytest
import torch
from torch import Tensor

from relatum.data import Batches, Crop, Flip, Resident
from relatum.types import Batch, Fault

AUGMENT = (Crop(2), Flip())


def resident(samples: int = 23, labelled: bool = True) -> Resident:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return Resident(images, torch.arange(samples) % 5 if labelled else None)


def by_sample(batches: list[Batch]) -> Tensor:
    """The images of an epoch in the order of the set."""
    order = torch.cat([batch.indices for batch in batches])
    return torch.cat([batch.images for batch in batches])[order.argsort()]


def same(one: Batch, other: Batch) -> bool:
    assert one.labels is not None
    assert other.labels is not None
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.indices, other.indices)
        and one.view == other.view
    )


def test_unshuffled_batches_are_the_set_as_it_lies() -> None:
    data = resident()
    batches = list(Batches(data, 5).epoch(0))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat([batch.images for batch in batches]), data.images / 255)
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(23))


@pytest.mark.parametrize("settings", [{}, {"shuffle": True}])
def test_every_row_belongs_to_its_index(settings: dict[str, Any]) -> None:
    data = resident()
    assert data.labels is not None
    for batch in Batches(data, 4, **settings).epoch(2):
        assert batch.labels is not None
        assert torch.equal(batch.images, data.images[batch.indices] / 255)
        assert torch.equal(batch.labels, data.labels[batch.indices])
        assert batch.view == 2
        assert batch.images.dtype == torch.float32


@pytest.mark.parametrize(
    ("size", "drop_last", "steps", "samples"),
    [
        (5, False, 5, 23),
        (5, True, 4, 20),
        (23, True, 1, 23),
        (100, False, 1, 23),
        (1, True, 23, 23),
    ],
)
def test_steps_and_samples(size: int, drop_last: bool, steps: int, samples: int) -> None:
    batches = Batches(resident(), size, shuffle=True, drop_last=drop_last)
    found = list(batches.epoch(0))
    assert len(batches) == len(found) == steps
    assert batches.samples == sum(map(len, found)) == samples
    assert len({index for batch in found for index in batch.indices.tolist()}) == samples


@pytest.mark.parametrize("settings", [{}, {"shuffle": True}, {"shuffle": True, "drop_last": True}])
def test_an_epoch_goes_on_where_it_stopped(settings: dict[str, Any]) -> None:
    data = resident()
    whole = list(Batches(data, 4, augment=AUGMENT, seed=3, **settings).epoch(5))
    again = Batches(data, 4, augment=AUGMENT, seed=3, **settings)
    list(again.epoch(4))
    for start in range(len(whole) + 1):
        rest = list(again.epoch(5, start=start))
        assert len(rest) == len(whole) - start
        assert all(same(one, other) for one, other in zip(rest, whole[start:], strict=True))


def test_skipped_steps_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []
    original = Resident.float

    def counted(self: Resident, which: Any) -> Tensor:
        cut.append(1)
        return original(self, which)

    monkeypatch.setattr(Resident, "float", counted)
    list(Batches(resident(), 4, shuffle=True).epoch(0, start=4))
    assert len(cut) == 2


def test_all_that_is_random_depends_on_seed_and_epoch() -> None:
    data = resident(200)

    def epoch(seed: int, number: int) -> list[Batch]:
        return list(Batches(data, 50, shuffle=True, augment=AUGMENT, seed=seed).epoch(number))

    epochs = {(seed, number): epoch(seed, number) for seed in (0, 1) for number in (0, 1)}
    orders = {key: torch.cat([b.indices for b in each]) for key, each in epochs.items()}
    images = {key: by_sample(each) for key, each in epochs.items()}
    for one in epochs:
        for other in epochs:
            assert torch.equal(orders[one], orders[other]) == (one == other)
            assert torch.equal(images[one], images[other]) == (one == other)


def test_global_randomness_plays_no_part() -> None:
    batches = Batches(resident(), 4, shuffle=True, augment=AUGMENT)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = list(batches.epoch(0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert all(same(a, b) for a, b in zip(one, batches.epoch(0), strict=True))


def test_batch_size_and_shuffling_change_neither_order_nor_images() -> None:
    data = resident()
    small = list(Batches(data, 3, shuffle=True, augment=AUGMENT).epoch(1))
    large = list(Batches(data, 8, shuffle=True, augment=AUGMENT).epoch(1))
    still = list(Batches(data, 8, augment=AUGMENT).epoch(1))
    orders = [torch.cat([batch.indices for batch in each]).tolist() for each in (small, large)]
    assert orders[0] == orders[1] != list(range(23))
    assert torch.equal(by_sample(small), by_sample(large))
    assert torch.equal(by_sample(small), by_sample(still))


def test_augmentations_apply_in_turn() -> None:
    data = resident()
    (batch,) = Batches(data, 23, augment=(Flip(1.0), Flip(1.0))).epoch(0)
    assert torch.equal(batch.images, data.images / 255)
    (batch,) = Batches(data, 23, augment=(Flip(1.0),)).epoch(0)
    assert torch.equal(batch.images, data.images.flip(-1) / 255)


def test_two_of_a_kind_draw_apart() -> None:
    data = resident(64)
    (batch,) = Batches(data, 64, augment=(Flip(), Flip())).epoch(0)
    assert not torch.equal(batch.images, data.images / 255)


def test_a_set_without_labels() -> None:
    batches = list(Batches(resident(labelled=False), 4, shuffle=True).epoch(0))
    assert all(batch.labels is None for batch in batches)


def test_unshuffled_labels_are_no_copies() -> None:
    data = resident()
    assert data.labels is not None
    batch = next(Batches(data, 4).epoch(0, start=1))
    assert batch.labels is not None
    assert batch.labels.data_ptr() == data.labels[4:].data_ptr()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": 0}, "at least one sample"),
        ({"size": 24, "drop_last": True}, "leave nothing of 23 samples"),
    ],
)
def test_nonsense_is_refused_at_once(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(Fault, match=says):
        Batches(resident(), **settings)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(Fault, match="the set is empty"):
        Batches(Resident(torch.zeros(0, 1, 2, 2, dtype=torch.uint8)), 4)


@pytest.mark.parametrize(("number", "start"), [(-1, 0), (0, -1), (0, 7)])
def test_an_epoch_that_is_not_there_is_refused_before_it_runs(number: int, start: int) -> None:
    with pytest.raises(Fault, match="steps from 0 to 6"):
        Batches(resident(), 4).epoch(number, start)


def test_nothing_waits_for_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    steps = Batches(resident().to("cuda"), 4, shuffle=True, augment=AUGMENT).epoch(0)
    next(steps)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(steps)
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_the_device_changes_nothing() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    data = resident()
    here = Batches(data, 4, shuffle=True, augment=AUGMENT).epoch(3)
    there = Batches(data.to("cuda"), 4, shuffle=True, augment=AUGMENT).epoch(3)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.indices, other.indices.cpu())
        # A GPU multiplies by the reciprocal of 255: the last bit may differ.
        torch.testing.assert_close(one.images, other.images.cpu(), rtol=1e-6, atol=0)
