"""Files that are complete or absent, and that run nothing when they load."""

import contextlib
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.checkpoint import Interrupted, Saver, Stop, stop_on_signals
from relatum.distiller import Distiller
from relatum.fit import Epoch, Position, fit
from relatum.losses import RRD, RRKD, CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.types import Fault
from tests import toys
from tests.test_weights import Malice, one_line


def made(width: int = 4, anchors: int = 0, **about: Any) -> tuple[Distiller, Callable[..., Saver]]:
    """A distiller and what makes savers of it."""
    objective = Objective(
        ce=Term(CrossEntropy()),
        rrd=Term(RRD(width, 6, dim=3, queue_size=5), on="embedding"),
    )
    if anchors:
        objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    images = torch.rand(anchors, 1, 6, 6) if anchors else None
    distiller = Distiller(toys.student(width=width), toys.teacher(), objective, images)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)

    def saver(path: Path, *args: Any, **named: Any) -> Saver:
        return Saver(path, distiller, optimizer, about, *args, **named)

    return distiller, saver


# signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_at_the_next_step_and_stops(tmp_path: Path, signum: int) -> None:
    distiller, saver = made()
    before = signal.getsignal(signum)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)
    steps: list[int] = []

    def kill(*_: object) -> None:
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signum)

    optimizer.register_step_post_hook(kill)
    with stop_on_signals() as stop:
        assert stop.signum is None
        keeper = saver(tmp_path / "c.pt", stop)
        with pytest.raises(Interrupted, match=signal.Signals(signum).name) as caught:
            list(fit(distiller, toys.batches(), optimizer, constant(), 9, saver=keeper))
    assert caught.value.signum == signum
    assert len(steps) == 3
    assert signal.getsignal(signum) is before
    position = saver(tmp_path / "c.pt").restore()
    assert position is not None
    assert (position.epoch, position.step) == (1, 3)


def test_a_signal_after_the_last_step_of_an_epoch_saves_after_the_epoch(tmp_path: Path) -> None:
    """The caller has its epoch first, so its row is written."""
    distiller, saver = made()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    stop = Stop()
    epochs: list[Epoch] = []
    keeper = saver(tmp_path / "c", stop)
    training = fit(distiller, toys.batches(), optimizer, constant(), 3, saver=keeper)

    def stopped() -> None:
        for epoch in training:
            epochs.append(epoch)
            stop.signum = signal.SIGTERM

    with pytest.raises(Interrupted):
        stopped()
    assert len(epochs) == 1
    position = saver(tmp_path / "c").restore()
    assert position is not None
    assert (position.epoch, position.step) == (2, 0)


def test_a_second_signal_does_not_wait() -> None:
    def twice() -> None:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signum == signal.SIGINT
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_hear_no_signals_and_do_not_fail() -> None:
    seen: list[int | None] = [0]

    def work() -> None:
        with stop_on_signals() as stop:
            seen[0] = stop.signum

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_stop_raises_when_asked(tmp_path: Path) -> None:
    stop = Stop()
    stop.check()
    stop.signum = signal.SIGTERM
    with pytest.raises(Interrupted, match="SIGTERM"):
        stop.check()


# when -------------------------------------------------------------------------------------------


def test_when_a_checkpoint_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, saver = made()
    now = [100.0]
    monkeypatch.setattr("relatum.checkpoint.time.monotonic", lambda: now[0])
    stop, path = Stop(), tmp_path / "c.pt"
    keeper = saver(path, stop, every=60.0, pause=2.0)
    assert not keeper.due()
    keeper.epoch_ended(Position(2))
    assert not path.exists()  # moments after the start
    now[0] += 3
    keeper.epoch_ended(Position(2))
    assert path.exists()
    now[0] += 59
    assert not keeper.due()
    now[0] += 2
    assert keeper.due()
    keeper.save(Position(2, 1))
    assert not keeper.due()
    stop.signum = signal.SIGINT
    assert keeper.due()


# checkpoints ------------------------------------------------------------------------------------


def test_there_is_none_yet(tmp_path: Path) -> None:
    _, saver = made()
    assert saver(tmp_path / "c.pt").restore() is None
    assert saver(tmp_path / "c.pt").stage_reached() == 0


def test_all_comes_back(tmp_path: Path) -> None:
    distiller, _ = made()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)
    list(fit(distiller, toys.batches(), optimizer, constant(), 1))
    keeper = Saver(tmp_path / "c.pt", distiller, optimizer, {"seed": 1})
    tally = {"names": ["ce"], "table": torch.rand(3, 2), "sizes": [5]}
    torch.manual_seed(4)
    keeper.save(Position(2, 3, tally))
    drawn = torch.rand(3)
    wanted, momentum = toys.state(distiller.learner), optimizer.state_dict()["state"]
    other, _ = made()
    fresh = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    position = Saver(tmp_path / "c.pt", other, fresh, {"seed": 1}).restore()
    assert position is not None
    assert (position.epoch, position.step) == (2, 3)
    assert torch.equal(position.tally["table"], tally["table"])  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), drawn)
    saved = set(distiller.learner.state_dict())
    found = toys.state(other.learner)
    assert all(torch.equal(found[name], wanted[name]) for name in saved)
    for place, each in fresh.state_dict()["state"].items():
        assert torch.equal(each["momentum_buffer"], momentum[place]["momentum_buffer"])


def test_the_teacher_is_not_in_it(tmp_path: Path) -> None:
    _, saver = made()
    saver(tmp_path / "c.pt").save(Position())
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    assert all(name.startswith(("student.", "objective.")) for name in state["learner"])


def test_another_run_is_refused(tmp_path: Path) -> None:
    _, saver = made(learning_rate=0.1, seed=1)
    saver(tmp_path / "c.pt").save(Position())
    _, other = made(learning_rate=0.2, seed=1)
    with pytest.raises(Fault, match=r"another run \(learning_rate: 0.1 there, 0.2 here\)") as fault:
        other(tmp_path / "c.pt").restore()
    one_line(fault)
    _, lacking = made(learning_rate=0.1)
    with pytest.raises(Fault, match="seed: 1 there, None here"):
        lacking(tmp_path / "c.pt").restore()


def test_another_version_is_refused(tmp_path: Path) -> None:
    _, saver = made()
    saver(tmp_path / "c.pt").save(Position())
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save({**state, "format": 99}, tmp_path / "c.pt")
    with pytest.raises(Fault, match="another version"):
        saver(tmp_path / "c.pt").restore()


def test_another_network_is_refused(tmp_path: Path) -> None:
    _, saver = made()
    saver(tmp_path / "c.pt").save(Position())
    _, wider = made(width=5)
    with pytest.raises(Fault, match=r"another network: student.network.conv.weight is"):
        wider(tmp_path / "c.pt").restore()
    distiller, anchored = made(anchors=4)
    before = toys.state(distiller.learner)
    with pytest.raises(Fault, match="another network: it lacks 'anchors'"):
        anchored(tmp_path / "c.pt").restore()
    assert toys.same(toys.state(distiller.learner), before)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1, 2], protocol=2)])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    _, saver = made()
    for ask in (Saver.restore, Saver.stage_reached):
        with pytest.raises(Fault, match=r"c.pt is not a readable checkpoint.*delete it") as caught:
            ask(saver(tmp_path / "c.pt"))
        one_line(caught)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    _, saver = made()
    saver(tmp_path / "c.pt").save(Position())
    content = (tmp_path / "c.pt").read_bytes()
    for size in (100, len(content) // 2, len(content) - 1):
        (tmp_path / "c.pt").write_bytes(content[:size])
        with pytest.raises(Fault, match="not a readable checkpoint"):
            saver(tmp_path / "c.pt").restore()
    torch.save({"format": 1}, tmp_path / "c.pt")
    with pytest.raises(Fault, match="not a readable checkpoint"):
        saver(tmp_path / "c.pt").restore()


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    victim = tmp_path / "done"
    torch.save({"learner": Malice(victim)}, tmp_path / "c.pt")
    _, saver = made()
    with pytest.raises(Fault, match="not a readable checkpoint"):
        saver(tmp_path / "c.pt").restore()
    assert not victim.exists()


def test_stages_come_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    _, saver = made()
    saver(path, stage=0).save(Position(4))
    assert saver(path, stage=1).restore() is None  # the stage before: begin this one
    assert saver(path, stage=0).restore() is not None
    saver(path, stage=1).save(Position(1, 2))
    assert saver(path, stage=0).stage_reached() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is copied, to be killed")
def test_killed_while_it_writes_it_is_complete_or_absent(tmp_path: Path) -> None:
    """At forty moments drawn by a seed; each time there is a later checkpoint, or the same."""
    path, moments, found = tmp_path / "c.pt", random.Random(0), []
    distiller, saver = made()
    distiller.learner.register_buffer("ballast", torch.ones(1 << 18))  # a write takes a while

    def written() -> int:
        return path.stat().st_mtime_ns if path.exists() else 0

    for number in range(40):
        before = written()
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                keeper = saver(path)
                for step in range(1, 1 << 30):
                    keeper.save(Position(number + 1, step))
            os._exit(1)
        while number >= 5 and written() == before:  # the first ones may find none at all
            time.sleep(0.001)
        time.sleep(moments.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        position = saver(path).restore()
        found.append(None if position is None else (position.epoch, position.step))
    there = [each for each in found if each is not None]
    assert len(set(there)) >= 35
    assert there == sorted(there)
    assert found[len(found) - len(there) :] == there  # once there, it never goes
    assert list(tmp_path.glob(".c.pt.*"))  # some were killed in the middle of a write


def test_a_checkpoint_that_cannot_be_written_keeps_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, saver = made()
    saver(tmp_path / "c.pt").save(Position(1, 1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault, match="cannot write"):
        saver(tmp_path / "c.pt").save(Position(1, 2))
    position = saver(tmp_path / "c.pt").restore()
    assert position is not None
    assert position.step == 1
