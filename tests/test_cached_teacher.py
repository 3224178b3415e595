"""A teacher that remembers: read by index and view, refused where it was never asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from relatum.accumulate import accumulate
from relatum.cache import values as where
from relatum.data import Crop, Flip
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, RRKD, SP, CrossEntropy, FitNet
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.teachers import CachedTeacher, Remembered
from relatum.types import Batch, Fault, Value
from tests import toys
from tests.cache.asked import ask

VIEWED = toys.batches(augment=(Crop(1), Flip()), views=2)


class Told:
    """Each value is its own place, so that nothing can be mixed up."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.asked: list[list[int]] = []

    def rows(self, places: Tensor, device: torch.device) -> Value:
        self.asked.append(places.tolist())
        return places.float()[:, None]


def told(**values: Remembered) -> CachedTeacher:
    return CachedTeacher(toys.teacher(), values, samples=21, views=2)


def some(indices: list[int], view: int = 0) -> Batch:
    return Batch(torch.zeros(len(indices), 1, 6, 6), None, torch.tensor(indices), view)


def test_it_reads_by_index_and_view_and_not_by_image() -> None:
    teacher = told(embedding=Told(), output=Told())
    said = teacher(some([3, 20, 3], view=1))
    assert torch.equal(said.output, torch.tensor([[24.0], [41.0], [24.0]]))
    assert said.taps.keys() == {"embedding"}
    assert teacher(some([0])).read("embedding") == 0.0
    assert told(embedding=Told())(some([1])).output.numel() == 0
    assert told(embedding=Told())(some([1])).output.device.type == "cpu"


def test_one_view_is_every_view() -> None:
    teacher = CachedTeacher(toys.teacher(), {"output": Told()}, samples=21)
    assert torch.equal(teacher(some([4], view=17)).output, torch.tensor([[4.0]]))


@pytest.mark.parametrize("view", [-1, 2, 17])
def test_a_view_that_it_does_not_know_is_refused(view: int) -> None:
    with pytest.raises(Fault, match=rf"remembers 2 views .* not view {view}; cut batches by"):
        told(output=Told())(some([4], view))


@pytest.mark.parametrize("indices", [[0, 21], [-1, 3]])
def test_a_sample_that_it_does_not_know_is_refused(indices: list[int]) -> None:
    with pytest.raises(Fault, match="remembers samples 0 to 20, and was asked about"):
        told(output=Told())(some(indices))


def test_a_tap_that_it_lacks_is_refused() -> None:
    with pytest.raises(Fault, match="remembers 'nope', which is none of its taps: embedding, maps"):
        told(nope=Told())
    sp, kd = Objective(sp=Term(SP(), on="maps")), Objective(kd=Term(KD()))
    with pytest.raises(Fault, match="reads maps of the teacher, whose taps: embedding"):
        Distiller(toys.student(), told(embedding=Told()), sp)
    with pytest.raises(Fault, match="reads output of the teacher, whose taps: embedding"):
        Distiller(toys.student(), told(embedding=Told()), kd)
    Distiller(toys.student(), told(output=Told()), kd)


def test_an_order_comes_to_the_host_once_an_epoch() -> None:
    teacher = told(output=Told())
    order = torch.randperm(21)
    first, second = order[3:9], order[9:12]
    hosts = [teacher._host(each) for each in (first, second, second[1:])]
    assert [each.tolist() for each in hosts] == [
        order[3:9].tolist(),
        order[9:12].tolist(),
        order[10:12].tolist(),
    ]
    assert hosts[0]._base is hosts[1]._base is hosts[2]._base is not None
    order.copy_(order.flip(0))  # another epoch in the same place
    assert teacher._host(first).tolist() == order[3:9].tolist()
    other = torch.randperm(21)
    for odd in (other, other[::2], other.view(3, 7)[1], other[torch.tensor([2, 4])]):
        assert teacher._host(odd).tolist() == odd.tolist()


def distiller(teacher: object, dropout: float = 0.5) -> Distiller:
    torch.manual_seed(3)
    fitnet = FitNet((4, 6, 6), (6, 6, 6))
    objective = Objective(
        ce=Term(CrossEntropy()),
        kd=Term(KD()),
        sp=Term(SP(), on="embedding", weight=10.0),
        fitnet=Term(fitnet, on="maps", weight=0.1),
    )
    return Distiller(toys.student(dropout=dropout), teacher, objective)  # type: ignore[arg-type]


def trained(teacher: object, augment: bool) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    made = distiller(teacher)
    source = VIEWED if augment else toys.batches()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(4)
    losses = [dict(each.losses) for each in fit(made, source, optimizer, constant(), 4)]
    return losses, toys.state(made.learner)


@pytest.mark.parametrize("mapped", [False, True], ids=["held", "mapped"])
@pytest.mark.parametrize("augment", [False, True], ids=["plain", "viewed"])
def test_a_training_is_that_of_the_live_teacher(
    augment: bool, mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the rounding of maps to float16, and of a batch that is cut elsewhere."""
    if mapped:
        monkeypatch.setattr(where, "ON_CPU", 0)
    live, source = toys.teacher(), VIEWED if augment else toys.batches()
    wanted, state = trained(live, augment)
    cached = ask(live, source, tmp_path, ("embedding", "maps", "output"))
    found, same = trained(cached, augment)
    for epoch, other in zip(wanted, found, strict=True):
        assert epoch == pytest.approx(other, rel=1e-3)
    for name, value in state.items():
        torch.testing.assert_close(same[name], value, rtol=1e-3, atol=1e-4)
    another, _ = trained(toys.teacher(seed=9), augment)
    assert another[-1] != pytest.approx(wanted[-1], rel=1e-2)


def test_the_live_teacher_does_not_run(tmp_path: Path) -> None:
    live = toys.teacher()
    cached = ask(live, toys.batches(), tmp_path, ("embedding", "maps", "output"))
    live.network.register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    trained(cached, augment=False)


def test_anchors_go_through_the_live_teacher(tmp_path: Path) -> None:
    live, images, batch = toys.teacher(), torch.rand(6, 1, 6, 6), toys.batch(21)
    cached = ask(live, toys.batches(), tmp_path, ("embedding",))
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    student = toys.student(dropout=0.0)
    wanted, _ = Distiller(student, live, objective, images)(batch)
    found, _ = Distiller(student, cached, objective, images)(batch)
    torch.testing.assert_close(found.total, wanted.total, rtol=1e-5, atol=0)
    moved = Distiller(student, cached, objective, images + 0.1).to("cpu")
    assert moved(batch)[0].total != wanted.total


def test_microbatches_read_their_part(tmp_path: Path) -> None:
    live, batch = toys.teacher(), toys.batch(21)
    cached = ask(live, toys.batches(), tmp_path, ("embedding", "maps", "output"))
    totals = [
        accumulate(distiller(each, 0.0), replace(batch, shares=(21,)), 8).total
        for each in (live, cached)
    ]
    torch.testing.assert_close(totals[0], totals[1], rtol=1e-3, atol=0)


def test_on_a_gpu_it_waits_for_nothing(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    live = toys.teacher().to("cuda")
    source = replace(VIEWED, data=VIEWED.data.to("cuda"))
    cached = ask(live, source, tmp_path)
    steps = source.epoch(1)
    cached(next(steps))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in steps:
            cached(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
