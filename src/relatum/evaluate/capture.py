"""One pass over a set: what every metric is then computed from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from relatum import world
from relatum.taps import Tapped, at_rest
from relatum.types import Batch, Captured, Fault, Labels


@dataclass(frozen=True, slots=True)
class Collected:
    """What one network said about a whole set, in the order in which it was seen.

    Attributes:
        values: the network's output and taps by name; maps keep their four dimensions.
        labels: a class for each sample, or ``None`` where the set has none.
        indices: where each sample sits in its set.
    """

    values: Mapping[str, Tensor]
    labels: Labels | None
    indices: Labels

    def __len__(self) -> int:
        return len(self.indices)

    def cpu(self) -> "Collected":
        """The same, on the CPU."""
        values = {name: value.cpu() for name, value in self.values.items()}
        labels = None if self.labels is None else self.labels.cpu()
        return Collected(values, labels, self.indices.cpu())


def collect(
    tapped: Tapped,
    batches: Iterable[Batch],
    on: str | tuple[str, ...] = ("output",),
    *,
    stay: bool = False,
) -> Collected:
    """Show a network every batch once, at rest, and keep what it says.

    The values stay on the network's device until the end and come to the CPU in one transfer each,
    so nothing waits in between: the device must hold them (N×D numbers; mind whole maps). The
    network's modes are as before when this returns. Batches that are shared out among processes
    are put together again, so each of them collects the whole set.

    Args:
        tapped: the network; dropout and batch statistics are switched off meanwhile.
        batches: a set, cut into batches of any size, on any device.
        on: which values to keep, by the names of taps; ``"output"`` is the network's own.
        stay: leave them, and labels and indices too, on the device, for metrics to be computed
            there.

    Raises:
        Fault: the network has no such tap, the tap gives several tensors, or no batch came.

    Example:
        >>> network = Tapped(torch.nn.Flatten(), {})
        >>> batch = Batch(torch.ones(2, 1, 3, 3), labels=None, indices=torch.arange(2))
        >>> collect(network, [batch, batch]).values["output"].shape
        torch.Size([4, 9])
    """
    names = (on,) if isinstance(on, str) else on
    _check(tapped, names)
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    labels: list[Tensor | None] = []
    indices: list[Tensor] = []
    with at_rest(tapped):
        for batch in batches:
            captured = tapped(batch.images.to(tapped.mean.device))
            for name in names:
                values[name].append(_whole(_one(captured, name), batch))
            labels.append(None if batch.labels is None else _whole(batch.labels, batch))
            indices.append(_whole(batch.indices, batch))
    if not indices:
        raise Fault("wanted batches to evaluate on, none came; is the set empty, or used up?")
    known = [each for each in labels if each is not None]
    device = tapped.mean.device if stay else torch.device("cpu")
    return Collected(
        {name: torch.cat(parts).to(device) for name, parts in values.items()},
        torch.cat(known).to(device) if len(known) == len(labels) else None,
        torch.cat(indices).to(device),
    )


def _check(tapped: Tapped, names: tuple[str, ...]) -> None:
    there = ["output", *tapped.taps]
    for name in names:
        if name not in there:
            near = get_close_matches(name, there, n=3, cutoff=0.3) or there
            raise Fault(f"the network has no tap {name!r}; the nearest are {', '.join(near)}")


def _whole(rows: Tensor, batch: Batch) -> Tensor:
    """The rows of all processes, where each has its part."""
    return rows if batch.shares is None else world.gather(rows, batch.shares)


def _one(captured: Captured, name: str) -> Tensor:
    value = captured.read(name)
    if isinstance(value, tuple):
        raise Fault(
            f"tap {name!r} gives {len(value)} tensors, wanted one; give the layer to evaluate a"
            " tap of its own"
        )
    # A view (the class token of all tokens, say) would keep the whole tensor behind it.
    return value.clone()
