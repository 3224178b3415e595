"""The loop: what it trains is what a naive loop trains, to the bit, from wherever it starts."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD
from relatum.objective import Objective, Term
from relatum.schedules import constant, cosine, steps
from relatum.tally import LOOK_EVERY, Tally
from tests import toys
from tests.training import STEPS, made, sgd


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
    groups: list[dict[str, Any]] = [{"params": [first], "lr": 0.5}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=torch.tensor(0.1))
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


def test_between_epochs_the_caller_may_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = made()
    modes: list[bool] = []
    forward = distiller.learner.forward

    def noted(*args: Any) -> Any:
        modes.append(distiller.learner.training)
        return forward(*args)

    monkeypatch.setattr(distiller.learner, "forward", noted)
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
        for batch in self._source.epoch(number, start):
            self.step += 1
            yield batch


# Precision --------------------------------------------------------------------------------------


def test_bfloat16_runs_the_networks_and_spares_the_maths(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = made()
    seen: list[torch.dtype] = []
    parts: list[torch.dtype] = []
    forward = distiller.objective.forward

    def noted(student: Any, *rest: Any) -> Any:
        seen.append(student.output.dtype)
        losses = forward(student, *rest)
        parts.extend(each.dtype for each in (losses.total, *losses.parts.values()))
        return losses

    monkeypatch.setattr(distiller.objective, "forward", noted)
    source, before = toys.batches(), toys.state(distiller.learner)
    training = fit(distiller, source, sgd(distiller), constant(), 2, precision=torch.bfloat16)
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


def test_a_gradient_that_somebody_left_behind_trains_nothing() -> None:
    states = []
    for left in (False, True):
        distiller = made()
        for parameter in distiller.parameters():
            parameter.grad = torch.ones_like(parameter) if left else None
        list(fit(distiller, toys.batches(), sgd(distiller), constant(), 1))
        states.append(toys.state(distiller.learner))
    assert toys.same(*states)
