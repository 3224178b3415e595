"""A set that is decoded while it is used gives what it would give from memory."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from relatum import world
from relatum.data import Batches, Crop, Flip, ImageSet, Jitter, Resident, ResizedCrop, Stored, cut
from relatum.types import Fault

AUGMENT = (ResizedCrop(), Crop(1), Flip(), Jitter())
SAMPLES = 23
IMAGES = torch.randint(
    256, (SAMPLES, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.arange(SAMPLES) % 5
NAMES = tuple(f"{row:02d}.png" for row in range(SAMPLES))


def held() -> Resident:
    return Resident(IMAGES, LABELS, NAMES)


def stored(**options: Any) -> Stored:
    """The same, whose rows lie in another order in their source."""
    rows = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(1))
    where = rows.argsort()
    return Stored(lambda row: IMAGES[where[row]], rows, (3, 6, 6), LABELS, NAMES, **options)


def same(one: ImageSet, other: ImageSet) -> bool:
    every = slice(0, len(one))
    assert one.labels is not None
    assert other.labels is not None
    return (
        torch.equal(one.pixels(every), other.pixels(every))
        and torch.equal(one.labels, other.labels)
        and one.names == other.names
        and (one.places is None) == (other.places is None)
        and (one.places is None or other.places is None or torch.equal(one.places, other.places))
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 5},
        {"size": 5, "shuffle": True, "augment": AUGMENT, "seed": 3},
        {"size": 4, "shuffle": True, "drop_last": True, "augment": AUGMENT, "views": 2},
        {"size": 100},
        {"size": 1, "shuffle": True},
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_have_the_same_bits(settings: dict[str, Any], threads: int) -> None:
    ours, theirs = Batches(stored(threads=threads), **settings), Batches(held(), **settings)
    for number in (0, 3):
        for start in {0, 1, len(ours)}:
            pairs = list(zip(ours.epoch(number, start), theirs.epoch(number, start), strict=True))
            assert len(pairs) == len(ours) - start
            for one, other in pairs:
                assert torch.equal(one.images, other.images)
                assert one.labels is not None
                assert other.labels is not None
                assert torch.equal(one.labels, other.labels)
                assert torch.equal(one.indices, other.indices)
                assert one.view == other.view
                assert one.images.dtype == torch.float32


def test_it_is_parted_as_a_set_in_memory() -> None:
    which = torch.tensor([7, 1, 22])
    assert same(stored(), held())
    assert same(stored().take(which), held().take(which))
    for one, other in zip(cut(stored(), 0.3, 5), cut(held(), 0.3, 5), strict=True):
        assert same(one, other)
        assert same(one.take(torch.tensor([2, 0])), other.take(torch.tensor([2, 0])))
    assert stored().unlabelled().labels is None
    assert torch.equal(stored().float(which), held().float(which))
    assert (len(stored()), stored().shape) == (SAMPLES, held().shape)


def test_each_process_decodes_its_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    for rank in range(3):
        decoded: list[int] = []

        def noted(row: int, to: list[int] = decoded) -> Tensor:
            to.append(row)
            return IMAGES[row]

        monkeypatch.setattr(world, "size", lambda: 3)
        monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
        data = Stored(noted, torch.arange(SAMPLES), (3, 6, 6))
        batches = list(Batches(data, 8, shuffle=True, shared=True).epoch(1))
        assert sorted(decoded) == sorted(i for each in batches for i in each.indices.tolist())
        seen.append(decoded)
    assert sorted(row for each in seen for row in each) == list(range(SAMPLES))


def test_steps_that_are_skipped_are_not_decoded() -> None:
    decoded: list[int] = []

    def noted(row: int) -> Tensor:
        decoded.append(row)
        return IMAGES[row]

    data = Stored(noted, torch.arange(SAMPLES), (3, 6, 6))
    assert len(list(Batches(data, 4).epoch(0, start=4))) == 2
    assert sorted(decoded) == list(range(16, 23))


def test_what_follows_is_decoded_while_a_batch_is_used() -> None:
    decoded: list[int] = []

    def noted(row: int) -> Tensor:
        decoded.append(row)
        return IMAGES[row]

    data = Stored(noted, torch.arange(SAMPLES), (3, 6, 6), threads=1)
    steps: Iterator[Any] = iter(Batches(data, 2).epoch(0))
    next(steps)
    until = time.monotonic() + 30
    while len(decoded) < 6 and time.monotonic() < until:
        time.sleep(0.001)
    assert 6 <= len(decoded) < SAMPLES  # and no more: that would be a set in memory
    assert any(thread.name.startswith("decode") for thread in threading.enumerate())
    del steps  # whoever stops early leaves no thread behind
    while any(thread.name.startswith("decode") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.001)
    assert len(decoded) < SAMPLES


def test_what_cannot_be_read_is_said_when_its_turn_comes() -> None:
    def gone(row: int) -> Tensor:
        if row == 9:
            raise Fault("9.png: is gone")
        return IMAGES[row]

    steps = Batches(Stored(gone, torch.arange(SAMPLES), (3, 6, 6)), 4).epoch(0)
    assert [len(next(steps)) for _ in range(2)] == [4, 4]
    with pytest.raises(Fault, match=r"9\.png: is gone"):
        next(steps)


def test_it_is_never_there_as_a_whole() -> None:
    with pytest.raises(Fault, match="never in memory as a whole: ask pixels"):
        _ = stored().images
    assert not Batches(stored(), 4).resident
    assert Batches(held(), 4).resident


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rows": torch.arange(3.0)}, "rows are int64 on the CPU"),
        ({"labels": torch.arange(2)}, "3 images have 2 labels"),
        ({"names": ("a",)}, "3 images have 1 names"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"decode": lambda row: IMAGES[row], "shape": (3, 6, 6)}
    with pytest.raises(Fault, match=says):
        Stored(**given, **{"rows": torch.arange(3), **options})


def test_nothing_waits_for_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    data = stored().to("cuda")
    steps = Batches(data, 4, shuffle=True, augment=AUGMENT).epoch(0)
    first = next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rest = list(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted = list(Batches(held().to("cuda"), 4, shuffle=True, augment=AUGMENT).epoch(0))
    for one, other in zip([first, *rest], wanted, strict=True):
        assert torch.equal(one.images, other.images)
