"""A replayed training is the training that it would be without: bit for bit, on a stand-in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum import schedules
from relatum.checkpoint import Interrupted, Saver, Stop
from relatum.data import Crop, Flip
from relatum.distiller import Distiller
from relatum.fit import Epoch, Position, fit
from relatum.losses import CRD, CTKD, DKD, KD, RKD, RRKD, SP, CrossEntropy, VIDStages
from relatum.objective import Objective, Term
from relatum.replay import Replay
from relatum.replay.step import WARM
from relatum.tally import LOOK_EVERY, NotFinite
from relatum.types import Batch, Captured
from tests import toys, training
from tests.replay.recorded import Recorded

SAMPLES, SIZE = 43, 5
STEPS, FULL = 9, 8
"""In an epoch, and those of them that are not short."""
Made = Callable[[], Distiller]


def source(**named: Any) -> Any:
    return toys.batches(SAMPLES, SIZE, **{"augment": (Crop(1), Flip()), **named})


def sgd(distiller: Distiller, **named: Any) -> torch.optim.Optimizer:
    given = {"momentum": 0.9, "weight_decay": 1e-3, "nesterov": True, "fused": True, **named}
    return torch.optim.SGD(distiller.parameters(), lr=torch.tensor(0.1), **given)


def of(**terms: Term) -> Distiller:
    torch.manual_seed(3)
    distiller = Distiller(toys.student(), toys.teacher(), Objective(**terms))
    torch.manual_seed(7)
    return distiller


def moving() -> Distiller:
    return of(ctkd=Term(CTKD(DKD(), ramp=0.7)), ce=Term(CrossEntropy(), weight=schedules.cosine()))


def banked() -> Distiller:
    torch.manual_seed(5)
    labels = toys.resident(SAMPLES).labels
    crd = CRD(4, 6, SAMPLES, labels, dim=5, negatives=8, seed=1)
    return of(crd=Term(crd, on="embedding"), rkd=Term(RKD(triplets=20, seed=2), on="embedding"))


def anchored() -> Distiller:
    torch.manual_seed(3)
    objective = Objective(rrkd=Term(RRKD(), on="embedding"), ce=Term(CrossEntropy()))
    anchors = torch.rand(7, 1, 6, 6)
    distiller = Distiller(toys.student(), toys.teacher(), objective, anchors)
    torch.manual_seed(7)
    return distiller


def staged() -> Distiller:
    torch.manual_seed(5)
    return of(vid=Term(VIDStages((4, 4), (6, 6)), on="stages"), ce=Term(CrossEntropy()))


def alone() -> Distiller:
    torch.manual_seed(3)
    distiller = Distiller(toys.student(), None, Objective(ce=Term(CrossEntropy())))
    torch.manual_seed(7)
    return distiller


Found = tuple[dict[str, Tensor], list[dict[str, Tensor]], list[Epoch]]


def trained(
    made: Made, replay: Replay | None, epochs: int = 3, batches: Any = None, **named: Any
) -> Found:
    """State, momenta and epochs of a training."""
    distiller = made()
    optimizer = sgd(distiller)
    given = source() if batches is None else batches
    rate = schedules.cosine(0.1)
    found = list(fit(distiller, given, optimizer, rate, epochs, replay=replay, **named))
    return toys.state(distiller.learner), momenta(optimizer), found


def momenta(optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    return [dict(each) for each in optimizer.state_dict()["state"].values()]


def same(one: Found, other: Found) -> None:
    assert toys.same(one[0], other[0])
    assert all(toys.same(*pair) for pair in zip(one[1], other[1], strict=True))
    same_epochs(one[2], other[2])


def same_epochs(one: list[Epoch], other: list[Epoch]) -> None:
    for mine, its in zip(one, other, strict=True):
        assert dict(mine.losses) == dict(its.losses)
        assert (mine.number, mine.steps, mine.samples) == (its.number, its.steps, its.samples)


@pytest.mark.parametrize(
    "made",
    [training.made, moving, banked, anchored, staged, alone],
    ids=lambda made: str(made.__name__),
)
def test_it_has_the_bits_of_the_usual_loop(made: Made) -> None:
    replay = Replay(Recorded)
    found = trained(made, replay)
    assert (replay.obstacle, replay.played) == (None, 3 * FULL - WARM)
    same(found, trained(made, None))


@pytest.mark.parametrize(
    "named",
    [
        {"augment": ()},
        {"shuffle": False},
        {"drop_last": True},
        {"labels": False},
        {"views": 2},
    ],
    ids=str,
)
def test_however_batches_are_cut(named: dict[str, Any]) -> None:
    def made() -> Distiller:
        return of(kd=Term(KD()))

    def batches() -> Any:
        samples = toys.resident(SAMPLES, named.get("labels", True))
        rest = {name: value for name, value in named.items() if name != "labels"}
        given = {"shuffle": True, "augment": (Crop(1), Flip()), **rest}
        return type(source())(samples, SIZE, **given)

    replay = Replay(Recorded)
    found = trained(made, replay, batches=batches())
    assert replay.played == 3 * FULL - WARM
    same(found, trained(made, None, batches=batches()))


def test_in_bfloat16() -> None:
    replay = Replay(Recorded)
    found = trained(training.made, replay, precision=torch.bfloat16)
    assert replay.played == 3 * FULL - WARM
    same(found, trained(training.made, None, precision=torch.bfloat16))


def test_with_a_teacher_made_quick() -> None:
    def made() -> Distiller:
        torch.manual_seed(3)
        teacher = toys.teacher().quick(toys.batch(2).images, torch.bfloat16)
        objective = Objective(kd=Term(KD()), sp=Term(SP(), on="maps"))
        distiller = Distiller(toys.student().channels_last(), teacher, objective)
        torch.manual_seed(7)
        return distiller

    replay = Replay(Recorded)
    found = trained(made, replay, precision=torch.bfloat16)
    assert replay.played == 3 * FULL - WARM
    same(found, trained(made, None, precision=torch.bfloat16))


def test_an_epoch_of_one_batch_is_replayed_too() -> None:
    replay = Replay(Recorded)
    found = trained(alone, replay, 6, toys.batches(8, 8))
    assert replay.played == 6 - WARM
    same(found, trained(alone, None, 6, toys.batches(8, 8)))


def test_one_recording_will_do() -> None:
    made: list[Recorded] = []

    def recording() -> Recorded:
        made.append(Recorded())
        return made[-1]

    trained(alone, Replay(recording), 5)
    assert [each.records for each in made] == [1]


def test_another_fit_begins_anew() -> None:
    replay, once = Replay(Recorded), Replay(Recorded)
    trained(alone, replay, 1)
    same(trained(banked, replay), trained(banked, once))
    assert replay.played == FULL - WARM + once.played


# Resume and signals -----------------------------------------------------------------------------


class Halt(Exception):
    """The power is cut."""


class Cut(Saver):
    """Saves before one step of one epoch, and is cut off there."""

    at = (1, 1)

    def due(self) -> bool:
        return True

    def save(self, position: Position) -> None:
        if (position.epoch, position.step) == self.at:
            super().save(position)
            raise Halt

    def epoch_ended(self, position: Position) -> None:
        self.save(position)


@pytest.mark.parametrize("at", [(1, WARM), (1, WARM + 1), (2, 4), (2, FULL), (3, 0), (3, STEPS)])
def test_it_goes_on_from_any_step(tmp_path: Path, at: tuple[int, int]) -> None:
    wanted = trained(training.made, None)
    distiller = training.made()
    optimizer, rate, path = sgd(distiller), schedules.cosine(0.1), tmp_path / "checkpoint.pt"
    saver = Cut(path, distiller, optimizer, {})
    saver.at = at
    with pytest.raises(Halt):
        list(fit(distiller, source(), optimizer, rate, 3, saver=saver, replay=Replay(Recorded)))
    torch.manual_seed(999)
    distiller = training.made()
    optimizer = sgd(distiller)
    start = Saver(path, distiller, optimizer, {}).restore()
    replay = Replay(Recorded)
    rest = list(fit(distiller, source(), optimizer, rate, 3, start=start, replay=replay))
    saved = distiller.learner.state_dict()  # what is not, is noted for the log alone
    now = {name: each for name, each in toys.state(distiller.learner).items() if name in saved}
    assert toys.same(now, {name: each for name, each in wanted[0].items() if name in saved})
    assert all(toys.same(*pair) for pair in zip(momenta(optimizer), wanted[1], strict=True))
    same_epochs(rest, wanted[2][at[0] - 1 :])
    assert bool(replay.played) == (at < (3, WARM))


def test_a_signal_is_heard_between_played_steps(tmp_path: Path) -> None:
    distiller, stop = alone(), Stop()
    optimizer = sgd(distiller)
    saver = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {}, stop)

    class Signalled:
        def __len__(self) -> int:
            return len(source())

        def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
            raise AssertionError

        def drawn(self, number: int, start: int = 0) -> Iterator[Any]:
            for step, each in enumerate(source().drawn(number, start)):
                stop.signum = 15 if step == WARM + 2 else None
                yield each

    replay = Replay(Recorded)
    rate = schedules.constant()
    with pytest.raises(Interrupted):
        list(fit(distiller, Signalled(), optimizer, rate, 1, saver=saver, replay=replay))
    assert replay.played == 3
    start = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {}).restore()
    assert start is not None
    assert (start.epoch, start.step) == (1, WARM + 3)


def test_the_first_bad_step_is_named() -> None:
    class Breaks(nn.Module):
        """Not a number from its seventh step on; counted on the device."""

        calls: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, student: Tensor) -> Tensor:
            self.calls += 1
            return torch.where(self.calls < 7, 1.0, torch.nan) * student.sum()

    def made() -> Distiller:
        return of(breaks=Term(Breaks()), ce=Term(CrossEntropy()))

    replay = Replay(Recorded)
    batches = toys.batches(3 * LOOK_EVERY * 2, 2)
    with pytest.raises(NotFinite, match=r"since step 7 \(epoch 1\) in term 'breaks'"):
        trained(made, replay, batches=batches)
    assert replay.played == LOOK_EVERY - WARM


class Remembers:
    """A teacher that knows what it said of every sample, in each of its views."""

    replays = True

    def __init__(self, views: int) -> None:
        self.views = views
        generator = torch.Generator().manual_seed(4)
        self.said = torch.randn(views, SAMPLES, toys.CLASSES, generator=generator)

    def __call__(self, batch: Batch) -> Captured:
        return Captured(self.said[batch.view if self.views > 1 else 0][batch.indices])


@pytest.mark.parametrize(("views", "records"), [(1, 1), (2, 4)])
def test_a_teacher_that_reads_the_view(views: int, records: int) -> None:
    made: list[Recorded] = []

    def recording() -> Recorded:
        made.append(Recorded())
        return made[-1]

    def distiller() -> Distiller:
        torch.manual_seed(3)
        objective = Objective(kd=Term(KD()))
        found = Distiller(toys.student(), Remembers(views), objective)
        torch.manual_seed(7)
        return found

    replay, batches = Replay(recording), source(views=views)
    found = trained(distiller, replay, 4, batches)
    assert (replay.obstacle, replay.played) == (None, 4 * FULL - WARM)
    assert [each.records for each in made] == [records]
    same(found, trained(distiller, None, 4, batches))


# What a recording takes for granted -------------------------------------------------------------


class Baked(nn.Module):
    """Keeps what changes as training proceeds as a number of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 1.0

    def at(self, progress: float) -> None:
        self.factor = 1.0 if progress < 0.5 else 2.0

    def forward(self, student: Tensor) -> Tensor:
        return self.factor * student.square().mean()


class Counts(nn.Module):
    """Counts its calls in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, student: Tensor) -> Tensor:
        self.calls += 1
        return student.square().mean() / self.calls


class Replaces(nn.Module):
    """Puts another tensor in the place of its buffer."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(toys.CLASSES))

    def forward(self, student: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * student.detach().mean(0)
        return (student - self.mean).square().mean()


class Reads(nn.Module):
    """Reads a value back."""

    def forward(self, student: Tensor) -> Tensor:
        return student.square().mean() * (1 + float(student.detach().abs().max()))


@pytest.mark.parametrize(
    ("loss", "says", "played"),
    [
        (Baked, "Baked: factor changes as the training proceeds, and is no tensor", 10),
        (Counts, "losses.odd.calls is another after every step, and no tensor", 0),
        (Replaces, "losses.odd.mean is another after every step, and no tensor", 0),
        (Reads, "cannot be recorded: aten._local_scalar_dense.default: not permitted", 0),
    ],
)
def test_what_cannot_be_replayed_is_trained_as_ever(
    loss: type[nn.Module], says: str, played: int
) -> None:
    def made() -> Distiller:
        return of(odd=Term(loss()), ce=Term(CrossEntropy()))

    replay = Replay(Recorded)
    found = trained(made, replay)
    assert says in str(replay.obstacle)
    assert "\n" not in str(replay.obstacle)
    assert replay.played == played
    same(found, trained(made, None))


def between(change: Callable[[Distiller, torch.optim.Optimizer], None], replay: Any) -> Found:
    """A training whose caller changes something after its first epoch."""
    distiller = of(kd=Term(KD()), ce=Term(CrossEntropy()))
    optimizer = sgd(distiller)
    found = []
    for epoch in fit(distiller, source(), optimizer, schedules.cosine(), 3, replay=replay):
        found.append(epoch)
        if epoch.number == 1:
            change(distiller, optimizer)
    return toys.state(distiller.learner), momenta(optimizer), found


def hotter(distiller: Distiller, _: torch.optim.Optimizer) -> None:
    distiller.objective.losses["kd"].temperature = 9.0  # type: ignore[assignment]


def elsewhere(distiller: Distiller, _: torch.optim.Optimizer) -> None:
    for each in distiller.learner.parameters():
        each.data = each.data.clone()


def forgetful(_: Distiller, optimizer: torch.optim.Optimizer) -> None:
    optimizer.load_state_dict(optimizer.state_dict())  # copies of the momenta, of the rate too


def slower(_: Distiller, optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0]["momentum"] = 0.5


def frozen(distiller: Distiller, _: torch.optim.Optimizer) -> None:
    distiller.student.network.conv.weight.requires_grad_(False)  # type: ignore[union-attr]


@pytest.mark.parametrize("change", [hotter, elsewhere, forgetful, slower, frozen])
def test_a_caller_may_change_what_it_likes(change: Any) -> None:
    replay = Replay(Recorded)
    found = between(change, replay)
    assert (replay.obstacle, replay.played) == (None, FULL - WARM + 2 * FULL - WARM)
    same(found, between(change, None))


def test_nothing_of_a_failed_recording_is_left() -> None:
    """It drew dropout, moved the queue and computed gradients before it failed."""

    class Fails(Recorded):
        def record(self, function: Callable[[], Any]) -> Any:
            def broken() -> Any:
                function()
                raise RuntimeError("out of memory\nand so on")

            return super().record(broken)

    replay = Replay(Fails)
    found = trained(training.made, replay)
    assert replay.obstacle == "a step cannot be recorded: out of memory"
    assert replay.played == 0
    same(found, trained(training.made, None))


def test_a_recording_that_ends_before_the_update_leaves_no_gradient() -> None:
    """Without a fused kernel the update reads the learning rate back."""

    def usual(replay: Replay | None) -> Found:
        distiller = training.made()
        optimizer = sgd(distiller, fused=False)
        found = list(fit(distiller, source(), optimizer, schedules.cosine(), 2, replay=replay))
        return toys.state(distiller.learner), momenta(optimizer), found

    replay = Replay(Recorded)
    found = usual(replay)
    assert "cannot be recorded" in str(replay.obstacle)
    same(found, usual(None))


def test_the_memory_is_let_go_at_the_end() -> None:
    replay = Replay(Recorded)
    trained(alone, replay)
    assert replay.obstacle is None
    assert not [each for each in vars(replay).values() if isinstance(each, Recorded)]
