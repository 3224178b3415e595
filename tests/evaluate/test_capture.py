"""One pass, at rest, of everything that was asked for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from relatum.evaluate import collect
from relatum.taps import Tap, Tapped, Taps
from relatum.types import Batch, Fault

TAPS: Taps = {
    "maps": Tap("0"),
    "embedding": Tap("4", "input"),
    "both": (Tap("0"), Tap("4")),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 3)
    )


def batches(sizes: tuple[int, ...], labelled: tuple[bool, ...] = ()) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    made, start = [], 0
    for number, size in enumerate(sizes):
        has = labelled[number] if labelled else True
        indices = torch.arange(start, start + size)
        images = torch.rand(size, 1, 4, 4, generator=generator)
        made.append(Batch(images, indices % 3 if has else None, indices))
        start += size
    return made


def test_values_are_those_of_the_whole_set_at_once() -> None:
    tapped = Tapped(network(), TAPS)
    cut = batches((5, 5, 2))
    found = collect(tapped, cut, ("output", "embedding", "maps"))
    whole = tapped.eval()(torch.cat([batch.images for batch in cut]))
    assert len(found) == 12
    for name in ("output", "embedding", "maps"):
        torch.testing.assert_close(found.values[name], whole.read(name).detach())
        assert not found.values[name].requires_grad
    assert found.values["maps"].shape == (12, 2, 2, 2)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2] * 4
    assert found.indices.tolist() == list(range(12))


def test_a_set_is_passed_once_and_the_network_stays_as_it_was() -> None:
    inside = network().train()
    tapped = Tapped(inside, TAPS)
    inside[1].eval()
    before = {name: value.clone() for name, value in inside.state_dict().items()}
    runs: list[int] = []
    inside[0].register_forward_hook(lambda *_: runs.append(1))

    def once() -> Iterator[Batch]:
        yield from batches((4, 3))

    collect(tapped, once(), ("output", "maps", "embedding"))
    assert len(runs) == 2
    assert inside[2].training
    assert not inside[1].training
    for name, value in inside.state_dict().items():
        assert torch.equal(value, before[name])


def test_labels_are_all_or_none() -> None:
    tapped = Tapped(network(), {})
    assert collect(tapped, batches((2, 2), (False, False))).labels is None
    assert collect(tapped, batches((2, 2), (True, False))).labels is None


def test_one_name_may_be_given_bare() -> None:
    assert set(collect(Tapped(network(), TAPS), batches((2,)), "embedding").values) == {"embedding"}


class Reuses(nn.Module):
    """Writes every answer into the same memory, as a replayed CUDA graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.zeros(2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer.copy_(images.flatten(1).sum(1, keepdim=True))


def test_a_network_may_reuse_its_memory() -> None:
    cut = batches((2, 2))
    found = collect(Tapped(Reuses(), {}), cut).values["output"]
    wanted = torch.cat([batch.images for batch in cut]).flatten(1).sum(1, keepdim=True)
    torch.testing.assert_close(found, wanted)


def test_faults_name_the_way_out() -> None:
    tapped = Tapped(network(), TAPS)
    with pytest.raises(Fault, match="no tap 'embeding'; the nearest are embedding"):
        collect(tapped, batches((2,)), ("embeding",))
    with pytest.raises(Fault, match="'both' gives 2 tensors"):
        collect(tapped, batches((2,)), ("both",))
    with pytest.raises(Fault, match="none came"):
        collect(tapped, [])
