from collections.abc import Callable

import numpy as np
import pytest

from relatum.record import Record
from relatum.report.canvas import apart, clipped, looks_of
from relatum.report.table import summarise


@pytest.mark.parametrize("seed", range(20))
def test_names_never_touch_and_keep_their_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    heights = generator.beta(0.3, 0.3, size=12).tolist()
    places = apart(heights, 0.07)
    order = np.argsort(heights, kind="stable")
    assert np.diff(np.array(places)[order]).min() > 0.07 - 1e-9
    assert min(places) >= 0
    assert max(places) <= 1 + 1e-9


def test_names_that_have_room_stay() -> None:
    assert apart([0.9, 0.1, 0.5], 0.1) == [0.9, 0.1, 0.5]


def test_many_names_grow_upwards() -> None:
    assert apart([0.5] * 5, 0.5) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_long_name_is_cut() -> None:
    assert clipped("a\nb  c") == "a b c"
    assert clipped("x" * 30, 10) == "x" * 9 + "…"


def test_every_line_has_a_look_of_its_own(make: Callable[..., Record]) -> None:
    labels = ["none", *(f"method {number}" for number in range(40))]
    looks = looks_of(summarise([make(label) for label in labels]))
    assert len(set(looks.values())) == len(looks) == 42
