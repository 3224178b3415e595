"""One at a time, the one furthest behind next, and each with the randomness that it left."""

import threading
from collections.abc import Callable
from contextlib import suppress

import torch

from relatum.run.turns import Turns

CPU = torch.device("cpu")
PATIENCE = 60.0


def taking(turns: Turns, *works: Callable[[int], None]) -> None:
    """Do these works in turns, to the end of all."""

    def work(number: int, what: Callable[[int], None]) -> None:
        with suppress(SystemExit), turns.taken(number):
            what(number)

    threads = [threading.Thread(target=work, args=each, daemon=True) for each in enumerate(works)]
    for each in threads:
        each.start()
    turns.start()
    for each in threads:
        each.join(PATIENCE)
        assert not each.is_alive()


def test_the_furthest_behind_goes_next() -> None:
    turns, seen = Turns(3, CPU), list[tuple[int, int, int]]()

    def walk(epoch: int, first: int, last: int) -> Callable[[int], None]:
        def work(number: int) -> None:
            for step in range(first, last):
                turns.wait(number, (epoch, step))
                seen.append((epoch, step, number))

        return work

    taking(turns, walk(1, 4, 7), walk(1, 0, 7), walk(2, 0, 1))
    assert [each[:2] for each in seen] == sorted(each[:2] for each in seen)
    assert seen[:4] == [(1, step, 1) for step in range(4)]  # alone until it has caught up
    firsts = [next(each[2] for each in seen if each[1] == step) for step in (4, 5, 6)]
    assert set(firsts) == {0, 1}  # who comes first pays for all, so that changes
    assert turns.places == {}


def test_nobody_notices_the_others() -> None:
    """Randomness and the number of threads are as they were, whatever others do meanwhile."""
    before = torch.get_num_threads()
    drawn: dict[int, list[float]] = {0: [], 1: [], 2: []}
    threads: dict[int, list[int]] = {0: [], 1: [], 2: []}
    turns = Turns(3, CPU)

    def draw(number: int) -> None:
        torch.manual_seed(number)
        torch.set_num_threads(1 + number % 2)
        for step in range(5):
            waited = turns.wait(number, (1, step))
            assert waited >= 0.0
            drawn[number].append(float(torch.rand(())))
            threads[number].append(torch.get_num_threads())

    try:
        taking(turns, draw, draw, draw)
    finally:
        torch.set_num_threads(before)
    for number in range(3):
        torch.manual_seed(number)
        assert drawn[number] == [float(torch.rand(())) for _ in range(5)]
        assert threads[number] == [1 + number % 2] * 5


def test_one_that_breaks_off_stops_no_other() -> None:
    turns, seen = Turns(2, CPU), list[int]()

    def breaks(number: int) -> None:
        turns.wait(number, (1, 1))
        raise SystemExit

    def goes_on(number: int) -> None:
        for step in range(4):
            turns.wait(number, (1, step))
            seen.append(step)

    taking(turns, breaks, goes_on)
    assert seen == [0, 1, 2, 3]


def test_the_time_of_others_is_told() -> None:
    turns, waited = Turns(2, CPU), dict[int, float]()
    rest = threading.Event()

    def works(number: int) -> None:
        turns.wait(number, (1, 0))
        rest.wait(0.2)
        waited[number] = turns.wait(number, (1, 1))

    def waits(number: int) -> None:
        waited[number] = turns.wait(number, (2, 0))

    taking(turns, waits, works)
    assert waited[0] >= 0.2
    assert waited[1] == 0.0
