"""A fixed number of augmented images a sample, shown in turn."""

import pytest
import torch
from torch import Tensor

from relatum.data import Batches, Crop, Flip
from relatum.types import Batch, Fault
from tests.toys import resident

AUGMENT = (Crop(2), Flip())


def batches(views: int | None, size: int = 5, seed: int = 0) -> Batches:
    return Batches(resident(40), size, shuffle=True, augment=AUGMENT, seed=seed, views=views)


def images(some: list[Batch]) -> Tensor:
    """In the order of the set."""
    order = torch.cat([each.indices for each in some])
    return torch.cat([each.images for each in some])[order.argsort()]


def epoch(number: int, **named: int) -> Tensor:
    return images(list(batches(**{"views": 3, **named}).epoch(number)))


def test_every_epoch_shows_one_view_and_they_come_again_in_turn() -> None:
    shown = [epoch(number) for number in range(1, 8)]
    for one in range(7):
        for other in range(7):
            assert torch.equal(shown[one], shown[other]) == (one % 3 == other % 3)
    seen = [{batch.view for batch in batches(3).epoch(number)} for number in range(1, 8)]
    assert seen == [{0}, {1}, {2}, {0}, {1}, {2}, {0}]


def test_the_order_is_another_every_epoch() -> None:
    orders = [torch.cat([b.indices for b in batches(1).epoch(n)]).tolist() for n in (1, 2, 3)]
    assert len({tuple(each) for each in orders}) == 3
    assert [sorted(each) for each in orders] == [list(range(40))] * 3
    usual = [torch.cat([b.indices for b in batches(None).epoch(n)]).tolist() for n in (1, 2, 3)]
    assert orders == usual


def test_a_view_depends_on_seed_sample_and_number_alone() -> None:
    assert torch.equal(epoch(2), epoch(2, size=7))
    assert torch.equal(epoch(2), epoch(2, views=5))
    assert not torch.equal(epoch(2), epoch(2, seed=1))
    plain = Batches(resident(40), 40, augment=AUGMENT, views=3)
    assert torch.equal(epoch(2), images(list(plain.epoch(2))))


def test_without_views_every_epoch_is_as_it_was_before_there_were_any() -> None:
    """Numbers of the version before; a change of them changes every training."""
    (batch,) = Batches(resident(40), 40, augment=AUGMENT, seed=3).epoch(4)
    shift = [int(each) for each in (batch.images > 0).flatten(1).sum(1)[:8]]
    assert (shift, batch.view) == ([24, 29, 20, 25, 20, 24, 20, 30], 4)
    assert not torch.equal(epoch(1), images(list(batches(None).epoch(1))))


@pytest.mark.parametrize(
    ("views", "augment"), [(0, AUGMENT), (2, ())], ids=["none", "of nothing that changes"]
)
def test_views_of_nothing_are_refused(views: int, augment: tuple[Crop | Flip, ...]) -> None:
    with pytest.raises(Fault, match="views are ways of augmenting"):
        Batches(resident(), 5, augment=augment, views=views)
