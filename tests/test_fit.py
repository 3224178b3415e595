"""The loop: what it trains is what a naive loop trains, to the bit, from wherever it starts."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.checkpoint import Saver
from relatum.distiller import Distiller
from relatum.fit import LOOK_EVERY, Epoch, NotFinite, Position, Tally, fit
from relatum.losses import KD, RRD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant, cosine, steps
from tests import toys

STEPS = 5
"""In an epoch of ``toys.batches``, the last one short."""


def made() -> Distiller:
    """Dropout, BatchNorm, a queue, a schedule of weights: all that could go astray."""
    torch.manual_seed(3)
    objective = Objective(
        ce=Term(CrossEntropy(), weight=lambda progress: 1 - progress / 2),
        kd=Term(KD(), weight=0.9),
        rrd=Term(RRD(4, 6, dim=5, queue_size=16), on="embedding"),
        sp=Term(SP(), on="maps", weight=10.0),
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    torch.manual_seed(7)
    return distiller


def sgd(distiller: Distiller, tensor: bool = False) -> torch.optim.Optimizer:
    rate = torch.tensor(0.1) if tensor else 0.1
    return torch.optim.SGD(
        distiller.parameters(), lr=rate, momentum=0.9, weight_decay=1e-3, nesterov=True
    )


def test_it_trains_as_a_naive_loop_does() -> None:
    epochs, ours, theirs = 3, made(), made()
    optimizer, source, halving = sgd(ours), toys.batches(), cosine(0.1)
    found = list(fit(ours, source, optimizer, halving, epochs))

    torch.manual_seed(7)
    naive = sgd(theirs)
    theirs.train()
    means: list[dict[str, float]] = []
    for number in range(1, epochs + 1):
        sums: dict[str, float] = {}
        samples = 0
        for step, batch in enumerate(toys.batches().epoch(number)):
            progress = ((number - 1) * STEPS + step) / (epochs * STEPS)
            naive.param_groups[0]["lr"] = 0.1 * halving(progress)
            theirs.objective.at(progress)
            losses, _ = theirs(batch)
            naive.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            naive.step()
            samples += len(batch)
            for name, part in {**losses.parts, **losses.diagnostics}.items():
                sums[name] = sums.get(name, 0.0) + part.item() * len(batch)
        means.append({name: value / samples for name, value in sums.items()})
    assert not toys.same(toys.state(made().learner), toys.state(ours.learner))
    assert [each.number for each in found] == [1, 2, 3]
    for epoch, wanted in zip(found, means, strict=True):
        assert dict(epoch.losses) == pytest.approx(wanted, rel=1e-5)
        assert (epoch.steps, epoch.samples) == (STEPS, 21)
        assert epoch.seconds > 0
    assert "rrd.teacher_entropy" in found[0].losses


def test_its_weights_are_a_naive_loops_to_the_bit() -> None:
    ours = made()
    for _ in fit(ours, toys.batches(), sgd(ours, tensor=True), steps([0.5]), 2):
        pass
    theirs = made()
    naive = sgd(theirs, tensor=True)
    theirs.train()
    for number in (1, 2):
        for step, batch in enumerate(toys.batches().epoch(number)):
            progress = ((number - 1) * STEPS + step) / (2 * STEPS)
            naive.param_groups[0]["lr"].fill_(0.1 if progress < 0.5 else 0.1 * 0.1)
            theirs.objective.at(progress)
            theirs(batch)[0].total.backward()  # type: ignore[no-untyped-call]
            naive.step()
            naive.zero_grad()
    assert toys.same(toys.state(ours.learner), toys.state(theirs.learner))


@pytest.mark.parametrize("tensor", [False, True])
def test_the_schedule_reaches_the_learning_rate(tensor: bool) -> None:
    distiller = made()
    optimizer = sgd(distiller, tensor)
    rate = optimizer.param_groups[0]["lr"]
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda own, *_: seen.append(float(own.param_groups[0]["lr"])))
    for _ in fit(distiller, toys.batches(), optimizer, lambda progress: 1 - progress, 2):
        pass
    assert seen == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])
    if tensor:
        assert optimizer.param_groups[0]["lr"] is rate  # in place: a captured graph reads it


def test_groups_keep_their_own_rates() -> None:
    distiller = made()
    first, *others = distiller.parameters()
    optimizer = torch.optim.SGD(
        [{"params": [first], "lr": 0.5}, {"params": others}], lr=torch.tensor(0.1)
    )
    for _ in fit(distiller, toys.batches(), optimizer, lambda progress: 0.5, 1):
        pass
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.25, 0.05])


def test_fitting_again_does_not_shrink_the_rate() -> None:
    distiller = made()
    optimizer = sgd(distiller)
    for _ in range(2):
        for _ in fit(distiller, toys.batches(), optimizer, lambda progress: 0.5, 1):
            pass
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_the_caller_may_stop_early() -> None:
    distiller, short = made(), made()
    training = fit(distiller, toys.batches(), sgd(distiller), constant(), 50)
    assert isinstance(training, Iterator)
    epochs = [next(training), next(training)]
    training.close()  # type: ignore[attr-defined]
    assert [each.number for each in epochs] == [1, 2]
    torch.manual_seed(7)
    for _ in fit(short, toys.batches(), sgd(short), constant(), 2):
        pass
    assert all(each.isfinite().all() for each in distiller.parameters())


def test_between_epochs_the_caller_may_evaluate() -> None:
    distiller = made()
    modes: list[bool] = []
    forward = distiller.learner.forward

    def noted(*args: Any) -> Any:
        modes.append(distiller.learner.training)
        return forward(*args)

    distiller.learner.forward = noted  # type: ignore[method-assign]
    for _ in fit(distiller, toys.batches(), sgd(distiller), constant(), 2):
        distiller.learner.eval()
    assert modes == [True] * 2 * STEPS


def test_no_epochs_do_nothing() -> None:
    distiller = made()
    before = toys.state(distiller.learner)
    assert list(fit(distiller, toys.batches(), sgd(distiller), constant(), 0)) == []
    assert toys.same(toys.state(distiller.learner), before)


@pytest.mark.parametrize("drop_last", [False, True])
def test_means_are_over_samples(drop_last: bool) -> None:
    class FirstIndex(nn.Module):
        def forward(self, student: Tensor, indices: Tensor) -> Tensor:
            return indices.double().mean() + 0 * student.sum()

    distiller = Distiller(toys.student(), None, Objective(a=Term(FirstIndex())))
    source = toys.batches(drop_last=drop_last)
    seen = torch.cat([batch.indices for batch in source.epoch(1)]).double()
    (epoch,) = fit(distiller, source, sgd(distiller), constant(), 1)
    assert epoch.samples == len(seen) == (20 if drop_last else 21)
    assert epoch.losses["a"] == pytest.approx(seen.mean().item(), rel=1e-6)


def test_means_over_many_tables() -> None:
    values = torch.rand(3 * LOOK_EVERY + 7, 2)
    tally, sizes = Tally(1, len(values), {}), [1 + place % 5 for place in range(len(values))]
    for row, size in zip(values, sizes, strict=True):
        tally.add({"a": row[0], "b": row[1]}, 1, size)
    means, samples = tally.means()
    weights = torch.tensor(sizes)
    wanted = (values * weights[:, None]).sum(0) / weights.sum()
    assert samples == sum(sizes)
    assert list(means.values()) == pytest.approx(wanted.tolist(), rel=1e-5)


def test_the_loss_goes_down() -> None:
    distiller = Distiller(toys.student(dropout=0.0), toys.teacher(), Objective(kd=Term(KD())))
    epochs = list(fit(distiller, toys.batches(), sgd(distiller), constant(), 6))
    assert epochs[-1].losses["kd"] < 0.8 * epochs[0].losses["kd"]


# Stop and go on ---------------------------------------------------------------------------------


class Halt(Exception):
    """The power is cut."""


class Cut(Saver):
    """Saves before one step of one epoch, and is cut off there."""

    def __init__(self, at: tuple[int, int], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._at = at

    def due(self) -> bool:
        return True

    def save(self, position: Position) -> None:
        if (position.epoch, position.step) == self._at:
            super().save(position)
            raise Halt

    def epoch_ended(self, position: Position) -> None:
        self.save(position)


Whole = tuple[dict[str, Tensor], dict[str, Tensor], list[Epoch]]


@pytest.fixture(scope="module")
def uncut() -> Whole:
    """State, momenta and epochs of a training that nobody stopped."""
    distiller = made()
    optimizer = sgd(distiller, tensor=True)
    found = list(fit(distiller, toys.batches(), optimizer, cosine(), 3))
    return toys.state(distiller.learner), momenta(optimizer), found


def momenta(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    saved = optimizer.state_dict()["state"]
    return {str(place): each["momentum_buffer"].clone() for place, each in saved.items()}


@pytest.mark.parametrize("at", [(1, 1), (1, STEPS), (2, 0), (2, 3), (3, STEPS - 1), (4, 0)])
def test_it_goes_on_to_the_same_bits(tmp_path: Path, uncut: Whole, at: tuple[int, int]) -> None:
    wanted = uncut
    distiller = made()
    optimizer = sgd(distiller, tensor=True)
    saver = Cut(at, tmp_path / "checkpoint.pt", distiller, optimizer, {})
    with pytest.raises(Halt):
        list(fit(distiller, toys.batches(), optimizer, cosine(), 3, saver=saver))
    torch.manual_seed(999)
    distiller = made()
    with torch.no_grad():
        for each in distiller.parameters():
            each.mul_(0.5)
    torch.rand(17)
    optimizer = sgd(distiller, tensor=True)
    saver = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {}, every=1e9)
    start = saver.restore()
    assert start is not None
    assert (start.epoch, start.step) == at
    rest = list(fit(distiller, toys.batches(), optimizer, cosine(), 3, start=start))
    assert toys.same(toys.state(distiller.learner), {**wanted[0], **unsaved(distiller)})
    assert toys.same(momenta(optimizer), wanted[1])
    assert [each.number for each in rest] == list(range(at[0], 4))
    for ours, theirs in zip(rest, wanted[2][at[0] - 1 :], strict=True):
        assert dict(ours.losses) == dict(theirs.losses)
        assert (ours.steps, ours.samples) == (theirs.steps, theirs.samples)


def unsaved(distiller: Distiller) -> dict[str, Tensor]:
    """What losses note for the log alone, and weights, which are set anew at every step."""
    saved = distiller.learner.state_dict()
    return {name: each for name, each in toys.state(distiller.learner).items() if name not in saved}


def test_a_long_epoch_goes_on_to_the_same_means(tmp_path: Path) -> None:
    """Cut in the middle of a table, after the first was turned over."""
    source = toys.batches(2 * LOOK_EVERY + 31, 1)
    at = (1, LOOK_EVERY + 13)

    def small() -> Distiller:
        network = toys.student(dropout=0.5)
        network.network.bn = nn.Identity()
        torch.manual_seed(7)
        return Distiller(network, None, Objective(ce=Term(CrossEntropy())))

    first = small()
    (wanted,) = fit(first, source, sgd(first), constant(), 1)
    second = small()
    optimizer = sgd(second)
    saver = Cut(at, tmp_path / "c.pt", second, optimizer, {})
    with pytest.raises(Halt):
        list(fit(second, source, optimizer, constant(), 1, saver=saver))
    third = small()
    optimizer = sgd(third)
    start = Saver(tmp_path / "c.pt", third, optimizer, {}).restore()
    (found,) = fit(third, source, optimizer, constant(), 1, start=start)
    assert dict(found.losses) == dict(wanted.losses)
    assert found.samples == wanted.samples
    assert toys.same(toys.state(first.learner), toys.state(third.learner))


# What is not finite -----------------------------------------------------------------------------


class Breaks(nn.Module):
    """Becomes something else at one of its calls, counted from 1."""

    def __init__(self, at: int, value: float) -> None:
        super().__init__()
        self.at, self.value, self.calls = at, value, 0

    def forward(self, student: Tensor) -> Tensor:
        self.calls += 1
        return student.mean() * 0 + (self.value if self.calls == self.at else 1.0)


class Detached(Breaks):
    """Becomes something else from one call on, and hurts nobody."""

    def forward(self, student: Tensor) -> Tensor:
        self.calls += 1
        broken = torch.tensor(self.value if self.calls == self.at else 1.0)
        return student.mean() * 0 + broken


@pytest.mark.parametrize("at", [1, LOOK_EVERY, LOOK_EVERY + 1, 77, 130])
def test_a_term_that_is_not_a_number_is_named_with_its_step(at: int) -> None:
    loss = Breaks(at, math.nan)
    distiller = Distiller(
        toys.student(), None, Objective(ce=Term(CrossEntropy()), broken=Term(loss, weight=0.5))
    )
    source = toys.batches(60, 1, drop_last=True)  # 60 steps an epoch
    distiller.student.network.bn = nn.Identity()
    with pytest.raises(NotFinite) as caught:
        list(fit(distiller, source, sgd(distiller), constant(), 3))
    epoch = (at - 1) // 60 + 1
    assert f"not a number since step {at} (epoch {epoch}) in term 'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert loss.calls - at < 2 * LOOK_EVERY


def test_infinite_is_told_from_not_a_number() -> None:
    loss = Detached(3, math.inf)
    distiller = Distiller(toys.student(), None, Objective(a=Term(loss, weight=1.0)))
    with pytest.raises(NotFinite, match="infinite since step 3 .*term 'a'"):
        list(fit(distiller, toys.batches(), sgd(distiller), constant(), 1))


def test_an_update_that_breaks_all_terms_names_them_and_the_update() -> None:
    distiller = made()
    optimizer = sgd(distiller)

    def explode(*_: Any) -> None:
        with torch.no_grad():
            for each in distiller.parameters():
                each.fill_(math.nan)

    training = fit(distiller, toys.batches(), optimizer, constant(), 3)
    next(training)
    explode()
    with pytest.raises(NotFinite, match=r"step 6 \(epoch 2\) in terms .*the update before it"):
        next(training)


def test_diagnostics_may_be_infinite() -> None:
    class Tells(nn.Module):
        diagnostics = ("odds",)
        odds: Tensor

        def forward(self, student: Tensor) -> Tensor:
            self.odds = torch.tensor(math.inf)
            return student.mean()

    distiller = Distiller(toys.student(), None, Objective(a=Term(Tells())))
    (epoch,) = fit(distiller, toys.batches(), sgd(distiller), constant(), 1)
    assert epoch.losses["a.odds"] == math.inf


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    distiller = made()
    optimizer = sgd(distiller)
    saver = Saver(tmp_path / "checkpoint.pt", distiller, optimizer, {})
    saver.save(Position(1, 2))
    good = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        distiller.parameters()[0][0] = math.nan
    with pytest.raises(NotFinite, match="parameter 'student.network.conv.weight' is not finite"):
        saver.save(Position(1, 3))
    assert (tmp_path / "checkpoint.pt").read_bytes() == good


def test_a_bad_loss_is_found_before_its_checkpoint_is_written(tmp_path: Path) -> None:
    """The queue or a bank may be spoilt where parameters are not yet."""
    loss = Detached(3, math.nan)
    distiller = Distiller(toys.student(), None, Objective(a=Term(loss), ce=Term(CrossEntropy())))
    optimizer = sgd(distiller)
    saver = Saver(tmp_path / "c.pt", distiller, optimizer, {}, every=0.0)
    with pytest.raises(NotFinite, match="step 3"):
        list(fit(distiller, toys.batches(), optimizer, constant(), 1, saver=saver))
    position = Saver(tmp_path / "c.pt", made_like(distiller), optimizer, {}).restore()
    assert position is not None
    assert position.step == 2


def made_like(distiller: Distiller) -> Distiller:
    return deepcopy(distiller)


# Nothing waits ----------------------------------------------------------------------------------


READS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy")


def test_nothing_is_read_back_inside_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU nothing waits anyway, but who reads there reads on an accelerator too."""
    distiller = made()
    optimizer = sgd(distiller, tensor=True)
    source = Counting(toys.batches(4 * LOOK_EVERY + 30, 2))
    calls: list[tuple[int, str]] = []
    for name in READS:
        monkeypatch.setattr(Tensor, name, _noted(name, source, calls))
    training = fit(distiller, source, optimizer, lambda progress: 1 - progress, 1)
    next(training)
    monkeypatch.undo()
    assert len(source) > 2 * LOOK_EVERY
    inside = {call for call in calls if 0 < call[0] < len(source) and call[0] % LOOK_EVERY}
    assert inside == set()
    assert any(call[0] == LOOK_EVERY for call in calls)  # reads are seen at all


def _noted(name: str, source: "Counting", calls: list[tuple[int, str]]) -> Callable[..., Any]:
    read: Callable[..., Any] = getattr(Tensor, name)

    def noted(tensor: Tensor, *args: Any, **named: Any) -> Any:
        calls.append((source.step, name))
        return read(tensor, *args, **named)

    return noted


class Counting:
    """Batches that know which of them was asked for last."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.step = 0

    def __len__(self) -> int:
        return len(self._source)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        for self.step, batch in enumerate(self._source.epoch(number, start), start=1):
            yield batch


# Precision --------------------------------------------------------------------------------------


def test_bfloat16_runs_the_networks_and_spares_the_maths() -> None:
    distiller = made()
    seen: list[torch.dtype] = []
    parts: list[torch.dtype] = []
    forward = distiller.objective.forward

    def noted(student: Any, *rest: Any) -> Any:
        seen.append(student.output.dtype)
        losses = forward(student, *rest)
        parts.extend(each.dtype for each in (losses.total, *losses.parts.values()))
        return losses

    distiller.objective.forward = noted  # type: ignore[method-assign]
    source, before = toys.batches(), toys.state(distiller.learner)
    training = fit(
        distiller, source, sgd(distiller), constant(), 2, precision=torch.bfloat16
    )
    epochs = list(training)
    assert set(seen) == {torch.bfloat16}
    assert set(parts) == {torch.float32}
    assert {each.dtype for each in distiller.parameters()} == {torch.float32}
    assert all(math.isfinite(value) for each in epochs for value in each.losses.values())
    assert not toys.same(toys.state(distiller.learner), before)


def test_bfloat16_is_close_to_float32() -> None:
    found = []
    for precision in (torch.float32, torch.bfloat16):
        distiller = made()
        (epoch,) = fit(
            distiller, toys.batches(), sgd(distiller), constant(), 1, precision=precision
        )
        found.append(dict(epoch.losses))
    assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.02)
