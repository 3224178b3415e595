"""What processes decide as one: who acts, who waits, and what all of them hear of it.

Run as a module this file is one of the processes.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relatum import together, world
from relatum.types import Fault
from tests.processes import join, start

SIZES = (2, 3)
WISHES = ([0, 0, 0], [2, 0, 0], [1, 0, 3])
"""What each process votes for, call by call."""
Found = dict[str, Any]


class Odd(Exception):
    """Cannot be made from what it says of itself."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def wrong(kind: Callable[[], Exception]) -> Callable[[], None]:
    def action() -> None:
        raise kind()

    return action


def error_of(action: Callable[[], object]) -> tuple[str, str]:
    """What an action raises: its kind and what it says."""
    try:
        action()
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""


def fetched(folder: Path, ahead: str) -> Callable[[], list[str]]:
    """Fetch something slowly, unless it is there; who fetched it is what comes of it."""

    def action() -> list[str]:
        if os.environ["LOCAL_RANK"] == "0":
            time.sleep(0.2)
            (folder / f"{ahead} {world.rank()}").touch(exist_ok=False)  # once
        return sorted(each.name for each in folder.glob(f"{ahead} *"))

    return action


def voted(wishes: list[int]) -> list[int]:
    vote = together.Vote()
    return [*(vote(wish) for wish in wishes), vote.close(), vote.close()]


def found() -> Found:
    """What one process sees; every entry needs all of them, in this order."""
    rank, folder = world.rank(), Path(sys.argv[3])
    told: Found = {
        "first": together.first(),
        "by first": together.by_first(lambda: {"rank": world.rank()}),
        "nothing by first": together.by_first(lambda: None),
        "fault": error_of(lambda: together.by_first(wrong(lambda: Fault("no such thing")))),
        "odd": error_of(lambda: together.by_first(wrong(lambda: Odd(1, 2)))),
        "after an error": together.by_first(lambda: "all are here"),
        "all": together.all_of({"rank": rank}),
        "most": together.most(10 - rank),
        "votes": voted(WISHES[rank]),
    }
    os.environ["LOCAL_RANK"] = str(rank)  # one machine
    told["in turn"] = together.in_turn(fetched(folder, "one"))
    os.environ["LOCAL_RANK"] = str(min(rank, 1) * (rank % 2))  # the third is on another
    told["on two machines"] = together.in_turn(fetched(folder, "two"))
    del os.environ["LOCAL_RANK"]
    lost = wrong(lambda: Fault("lost")) if rank == 0 else lambda: None
    told["fault in turn"] = error_of(lambda: together.in_turn(lost))
    told["after it"] = together.most(rank)
    return told


@pytest.fixture(scope="module", params=SIZES, ids="{} processes".format)
def every(request: pytest.FixtureRequest) -> list[Found]:
    """What each of so many processes saw."""
    return start("tests.test_together", request.param)


def test_all_hear_what_came_of_it(every: list[Found]) -> None:
    for rank, each in enumerate(every):
        assert each["first"] == (rank == 0)
        assert each["by first"] == {"rank": 0}
        assert each["nothing by first"] is None
        assert each["all"] == [{"rank": place} for place in range(len(every))]
        assert each["most"] == 10


def test_what_the_first_raises_all_raise(every: list[Found]) -> None:
    for rank, each in enumerate(every):
        assert each["fault"] == ("Fault", "no such thing")
        odd = ("Odd", "1 and 2") if rank == 0 else ("RuntimeError", "Odd: 1 and 2")
        assert each["odd"] == odd
        assert each["after an error"] == "all are here"


def test_one_of_every_machine_is_ahead(every: list[Found]) -> None:
    machines = ["two 0", "two 2"][: len(every) - 1]
    for rank, each in enumerate(every):
        assert each["in turn"] == ["one 0"]
        if rank == 1:  # those of both machines were done before it began
            assert each["on two machines"] == machines
        assert each["fault in turn"] == ("Fault", "lost")
        assert each["after it"] == len(every) - 1


def test_a_vote_is_heard_one_call_later(every: list[Found]) -> None:
    highest = [max(wishes) for wishes in zip(*WISHES[: len(every)], strict=True)]
    for each in every:
        assert each["votes"] == [0, *highest, 0]


def test_alone_nothing_waits() -> None:
    assert together.first()
    assert together.by_first(lambda: 3) == together.in_turn(lambda: 3) == 3
    assert together.all_of("me") == ["me"]
    assert together.most(-2) == -2
    assert voted([0, 2, 1]) == [0, 2, 1, 0, 0]  # at once
    with pytest.raises(Fault, match="alone"):
        together.by_first(wrong(lambda: Fault("alone")))


if __name__ == "__main__":
    join(found)
