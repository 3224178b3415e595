import time

import pytest
import torch
from torch import nn

from relatum.evaluate import latency as place
from relatum.evaluate.latency import FEWEST, MOST, in_turns, latency
from relatum.types import Fault

CPU = torch.device("cpu")


def test_calls_take_turns_after_one_for_warmth(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that the calls move themselves, so that nothing hangs on this machine."""
    clock, order = [0.0], list[str]()
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock[0] += seconds

    calls = {"large": lambda: call("large", 0.3), "small": lambda: call("small", 0.1)}
    found = in_turns(calls, seconds=4.0)
    assert order[:4] == ["large", "small", "large", "small"]
    assert len(found["large"]) == len(found["small"]) == 11
    assert found["large"] == pytest.approx([300.0] * 11)
    assert found["small"] == pytest.approx([100.0] * 11)
    assert len(in_turns(calls, seconds=0.1)["large"]) == FEWEST
    assert len(in_turns(calls, seconds=1e6)["large"]) == MOST


def test_what_a_device_has_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def wait() -> None:
        clock[0] += 0.2

    assert in_turns({"network": lambda: None}, wait, 0.1)["network"] == pytest.approx([200.0] * 5)


class Seen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.batches: set[int] = set()
        self.train_seen = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.add(len(images))
        self.train_seen |= self.training or torch.is_grad_enabled()
        return images


def test_networks_at_rest_and_other_functions() -> None:
    network, other = Seen(), list[torch.Size]()
    shapes = {"network": (1, 4, 4), "file": (3, 2, 2), "of one": (1, 2, 2)}
    found = latency(
        {"network": network},
        shapes,
        CPU,
        batches=(1, 6),
        seconds=0.01,
        others={
            "file": lambda images: lambda: other.append(images.shape),
            "of one": lambda images: (lambda: None) if len(images) == 1 else None,
        },
    )
    assert network.batches == {1, 6}
    assert not network.train_seen
    assert network.training
    assert set(other) == {(1, 3, 2, 2), (6, 3, 2, 2)}
    assert [each.batch for each in found["of one"]] == [1]
    for name in {*shapes} - {"of one"}:
        assert [each.batch for each in found[name]] == [1, 6]
        assert all(0 < each.median <= each.p90 and each.device == "cpu" for each in found[name])


def test_quantiles(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"network": [float(each) for each in range(1, 12)]}
    monkeypatch.setattr(place, "in_turns", lambda *_: times)
    (found,) = latency({"network": Seen()}, {"network": (1, 2, 2)}, CPU, batches=(1,))["network"]
    assert (found.median, found.p90, found.passes) == (6.0, 10.0, 11)


def test_nothing_to_time() -> None:
    with pytest.raises(Fault, match="something to time"):
        in_turns({})
    with pytest.raises(Fault, match="seconds above 0"):
        in_turns({"network": lambda: None}, seconds=0)
