"""How long networks take to look at images: medians, taken in turns."""

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from relatum.taps import at_rest
from relatum.types import Fault

BATCHES = (1, 32)
"""Images at a time: one that somebody waits for, and as many as fill a device."""
SECONDS = 5.0
"""What is spent on all networks at one batch size, on one device."""
FEWEST, MOST = 5, 200
"""Passes that a median is taken over."""
Given = Callable[[torch.Tensor], Callable[[], object] | None]
"""Takes images, outside the clock, and gives what is timed; ``None`` if it takes no such batch."""


class Timing(BaseModel):
    """One network at one batch size on one device, in milliseconds a batch."""

    model_config = ConfigDict(frozen=True)

    device: str
    """``cpu``, or the GPU's name."""
    threads: int
    """Of PyTorch on the CPU."""
    batch: int
    median: float
    p90: float
    """What nine passes in ten stay below."""
    passes: int


def in_turns(
    calls: Mapping[str, Callable[[], object]],
    wait: Callable[[], object] = lambda: None,
    seconds: float = SECONDS,
) -> dict[str, list[float]]:
    """Milliseconds of each call, which take turns, so that what else the machine does hits all.

    Each is called once before the clock runs.

    Args:
        calls: what to time, by name.
        wait: called after each, for what runs on after it has returned, as on a GPU.
        seconds: to spend on all, within 5 and 200 calls of each.

    Raises:
        Fault: there is nothing to call, or no time to call it in.
    """
    if not calls or not seconds > 0:
        raise Fault(f"wanted something to time and seconds above 0, got {len(calls)} in {seconds}")
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    wait()
    end = time.perf_counter() + seconds
    for turn in range(MOST):
        if turn >= FEWEST and time.perf_counter() > end:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            wait()
            found[name].append(1000 * (time.perf_counter() - start))
    return found


def latency(
    networks: Mapping[str, nn.Module],
    shapes: Mapping[str, tuple[int, int, int]],
    device: torch.device,
    *,
    batches: Sequence[int] = BATCHES,
    seconds: float = SECONDS,
    others: Mapping[str, Given] | None = None,
) -> dict[str, list[Timing]]:
    """The time of a forward pass at rest, of each network and batch size, in float32.

    Images are noise that lies on the device already. The networks are moved to the device and
    back; their modes are as before when this returns.

    Args:
        networks: by name.
        shapes: channels, height and width of what enters each, ``others`` included.
        device: where.
        batches: images at a time.
        seconds: about, for each batch size.
        others: what runs by itself on images of the CPU, as an exported file does; timed on the
            CPU alone.

    Raises:
        Fault: there is nothing to time.

    Example:
        >>> from torch import nn
        >>> found = latency(
        ...     {"student": nn.Flatten()},
        ...     {"student": (1, 8, 8)},
        ...     torch.device("cpu"),
        ...     batches=(1,),
        ...     seconds=0.01,
        ... )
        >>> [(each.device, each.batch, each.passes >= 5) for each in found["student"]]
        [('cpu', 1, True)]
    """
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else device.type
    extra = {} if cuda else dict(others or {})
    found: dict[str, list[Timing]] = {each: [] for each in (*networks, *extra)}
    for batch in batches:
        images = {
            each: torch.rand(batch, *shapes[each], device=device) for each in (*networks, *extra)
        }
        given = {name: each(images[name]) for name, each in extra.items()}
        calls = {name: each for name, each in given.items() if each is not None}
        times = _timed(networks, calls, images, device, seconds)
        for each, taken in times.items():
            quantiles = torch.tensor(taken).quantile(torch.tensor([0.5, 0.9])).tolist()
            found[each].append(
                Timing(
                    device=name,
                    threads=torch.get_num_threads(),
                    batch=batch,
                    median=quantiles[0],
                    p90=quantiles[1],
                    passes=len(taken),
                )
            )
    return found


def _timed(
    networks: Mapping[str, nn.Module],
    others: Mapping[str, Callable[[], object]],
    images: Mapping[str, torch.Tensor],
    device: torch.device,
    seconds: float,
) -> dict[str, list[float]]:
    """Milliseconds of all passes at one batch size."""
    together = nn.ModuleDict({f"{place}": each for place, each in enumerate(networks.values())})
    homes = [next(each.parameters(), torch.empty(0)).device for each in networks.values()]
    calls: dict[str, Callable[[], object]] = {}
    for name, each in networks.items():
        calls[name] = lambda each=each, name=name: each(images[name])  # type: ignore[misc]
    calls |= others
    cuda = device.type == "cuda"
    together.to(device)
    try:
        with at_rest(together):
            return in_turns(
                calls, (lambda: torch.cuda.synchronize(device)) if cuda else lambda: None, seconds
            )
    finally:
        for each, home in zip(networks.values(), homes, strict=True):
            each.to(home)
