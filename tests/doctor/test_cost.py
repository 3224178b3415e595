"""By what it is told how long evaluation will take."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from relatum.doctor import cost
from relatum.recipes.recipe import Recipe
from relatum.run.sets import sets_of
from relatum.taps import Tapped


def test_a_look_is_timed_until_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the call returns at once and the numbers are there much later."""
    clock = [0.0]

    def listen(tapped: Tapped, part: Any, on: tuple[str, ...]) -> SimpleNamespace:
        def wait() -> None:
            clock[0] += 0.5 * len(part)

        return SimpleNamespace(cpu=wait)

    monkeypatch.setattr(cost, "listen", listen)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    sets = sets_of(Recipe(), torch.device("cpu"))
    assert cost._looking(cast(Tapped, None), sets) == 0.5
