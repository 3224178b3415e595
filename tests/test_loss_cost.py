"""The benchmark of what losses add to a step: what it times, and how it reckons."""

import importlib
from typing import Any

import torch

from relatum.methods import METHODS

# by name: scripts beside the package, which have no types to look up
COST: Any = importlib.import_module("loss_cost")
STEPS: Any = importlib.import_module("loss_steps")
CPU = torch.device("cpu")
WITHOUT = {"none", "linear", "linear-drifting"}
"""Methods whose only term is cross-entropy, which is in the step of the networks."""


def test_every_method_is_there_and_takes_a_step() -> None:
    own, batch = STEPS.pair("fast", CPU), STEPS.made_up(8, CPU)
    found = STEPS.steps(own, batch)
    assert {name.partition(",")[0] for name in found} == set(METHODS) - WITHOUT
    assert {"ft, stage 1", "ft, stage 2"} <= set(found)
    for name in ("sp", "simkd", "rrd"):
        work = found[name]
        values = [float(work()) for _ in range(3)]
        assert all(value == value for value in values)
        moves = name != "sp"  # heads learn; without any, a step repeats itself
        assert (len(set(values)) > 1) == moves, name
    assert set(STEPS.networks(own, batch)) == set(COST.NETWORKS)


def test_work_takes_turns_and_what_is_long_is_done_once() -> None:
    done: list[str] = []
    works = {"one": lambda: done.append("one"), "other": lambda: done.append("other")}
    found = COST.take_turns(works, 2, CPU)
    assert done == ["one", "other"] * 3
    assert [len(each) for each in found.values()] == [2, 2]
    done.clear()
    found = COST.take_turns(works, 2, CPU, long=-1.0)
    assert done == ["one", "other"]
    assert [len(each) for each in found.values()] == [1, 1]


def test_shares_are_of_both_networks() -> None:
    def run(*milliseconds: float) -> dict[str, object]:
        names = (*COST.NETWORKS, "sp")
        return {
            name: {
                "milliseconds": [2 * took, 2 * took, 9e9],
                "process_milliseconds": [took, took, 9e9],
                "peak_mebibytes": 12.0,
            }
            for name, took in zip(names, milliseconds, strict=True)
        }

    sizes = {
        str(COST.COMPARED): {"exact": {"1": run(600, 400, 20), "2": run(300, 200, 5)}},
        "256": {"exact": {"1": run(0, 0, 80)}},
    }
    assert "| sp | 20 ms, 2.0 % | 10 ms, 1.0 % | 12 | 80 ms |" in COST.table({"cpu": sizes})
