"""How long does an epoch of RRKD on MNIST take, through relatum and through the usual loop?

    python benchmarks/mnist_epoch.py --data FOLDER

Both teach the auto-encoder ``mnist-ae-32`` what ``mnist-ae-64`` relates: 60,000 images in batches
of 128, a live teacher, anchors in the batch, SGD (0.1, momentum 0.9), float32 on the CPU. The
usual loop is what one writes, and what the paper's notebook does: torchvision's set, ``ToTensor``
and ``Normalize`` a sample at a time, a ``DataLoader``, the encoders alone, the loss in a few lines.
They take turns, so that whatever else the machine does hits both; medians are compared. Before
that, twenty steps of both from the same weights, in the same order and without dropout must give
the same losses, to a ten-thousandth. The teacher is untrained: that costs the same.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import machine
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from relatum import Batch, Distiller, Fault, Recipe, load
from relatum.datasets import Dataset
from relatum.fit import fit
from relatum.run.prepare import Prepared, optimizer_of, prepare
from relatum.tally import Tally
from relatum.teachers import Teacher

RESULT = Path(__file__).parent / "results" / "mnist_epoch.json"
CHECKED, TOLERANCE = 20, 1e-4
OURS, THEIRS, WORKERS = "relatum", "DataLoader, no workers", "DataLoader, 2 workers"


def main() -> int:
    """Check, measure, print and write down."""
    asked = _arguments()
    try:
        dataset = load("mnist", root=asked.data)
        recipe = _recipe(asked.data)
        ready = prepare(recipe, torch.device("cpu"), stand_in="mnist-ae-64")
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 2
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        both = Both(recipe, ready, as_torchvision_reads(dataset, Path(folder)))
    apart = both.furthest()
    if not apart <= TOLERANCE:
        print(f"the two loops differ: a loss by {apart:.1e} of itself", file=sys.stderr)
        return 1
    result = {
        "samples": len(dataset.train),
        "losses_apart_at_most": apart,
        **both.take_turns(asked.repeats),
        "microseconds_of_a_step": both.parts_of_a_step(),
        "machine": machine(),
    }
    print(_words(result))
    if not asked.no_write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="the folder that MNIST is in")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each (default: 5)")
    parser.add_argument(
        "--threads", type=int, default=1, help="for both (default: 1, as relatum runs MNIST)"
    )
    parser.add_argument("--no-write", action="store_true", help=f"leave {RESULT.name} as it is")
    return parser.parse_args()


def _recipe(root: Path | None) -> Recipe:
    return Recipe(
        dataset="mnist",
        data_root=None if root is None else str(root),
        student="mnist-ae-32",
        teacher="mnist-ae-64",
        method="rrkd",
        batch_size=128,
        drop_last=False,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        schedule="constant",
    )


def as_torchvision_reads(dataset: Dataset, root: Path) -> datasets.MNIST:
    """The same images as torchvision's own set, wherever and however their files lie."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for start, part in (("train", dataset.train), ("t10k", dataset.test)):
        assert part.labels is not None
        _write_idx(raw / f"{start}-images-idx3-ubyte", part.images[:, 0])
        _write_idx(raw / f"{start}-labels-idx1-ubyte", part.labels.byte())
    normalise = transforms.Normalize((0.5,), (0.5,))
    return datasets.MNIST(root, transform=transforms.Compose([transforms.ToTensor(), normalise]))


def _write_idx(path: Path, numbers: Tensor) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in numbers.shape)
    path.write_bytes(bytes((0, 0, 8, numbers.ndim)) + sizes + numbers.numpy().tobytes())


def usual(student: nn.Module, teacher: nn.Module, loader: Iterable[Any]) -> list[Tensor]:
    """Train as one writes it; gives the loss of every step."""
    encoder, its_encoder = student.get_submodule("encoder"), teacher.get_submodule("encoder")
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1, momentum=0.9)
    student.train()
    losses: list[Tensor] = []
    for images, _ in loader:
        with torch.no_grad():
            taught = F.normalize(its_encoder(images))
        said = F.normalize(encoder(images))
        cosine = F.cosine_similarity(said @ said.T, taught @ taught.T)
        loss = -((cosine + 1) / 2 + 1e-8).log().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    return losses


@dataclass
class Both:
    """The same training twice: relatum's from a recipe, as its command builds it, and the usual."""

    recipe: Recipe
    ready: Prepared
    images: datasets.MNIST

    def __post_init__(self) -> None:
        assert self.ready.pair.teacher is not None
        self.student: nn.Module = self.ready.pair.student.network
        self.teacher: nn.Module = self.ready.pair.teacher.network
        self.at_first = deepcopy(self.student.state_dict())

    def _ours(self) -> tuple[Distiller, torch.optim.Optimizer]:
        distiller, _ = self.ready.distiller(self.ready.stages[0])
        return distiller, optimizer_of(self.recipe, distiller)

    def furthest(self) -> float:
        """How far the losses of the first steps are apart, at most, as a share of themselves."""
        batches = list(islice(self.ready.batches.epoch(1), CHECKED))
        with _without_dropout(self.student):
            distiller, optimizer = self._ours()
            source = _OneStepEpochs(batches)
            epochs = fit(distiller, source, optimizer, self.recipe.schedule_of(), CHECKED)
            ours = [epoch.losses["rrkd"] for epoch in epochs]
            self.student.load_state_dict(self.at_first)
            order = [batch.indices.tolist() for batch in batches]
            theirs = usual(self.student, self.teacher, DataLoader(self.images, batch_sampler=order))
            self.student.load_state_dict(self.at_first)
        return max(abs(1 - one / two.item()) for one, two in zip(ours, theirs, strict=True))

    def take_turns(self, repeats: int) -> dict[str, dict[str, list[float]]]:
        """Seconds of an epoch, each way, so many times: by the clock, and of this process alone.

        The second leave out what others took from it on a busy machine, and its own workers.
        """
        ways: dict[str, Callable[[], object]] = {
            OURS: self._our_epoch,
            THEIRS: lambda: self._usual_epoch(workers=0),
            WORKERS: lambda: self._usual_epoch(workers=2),
        }
        clock: dict[str, list[float]] = {name: [] for name in ways}
        alone: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                self.student.load_state_dict(self.at_first)
                began, spent = time.perf_counter(), time.process_time()
                way()
                clock[name].append(time.perf_counter() - began)
                alone[name].append(time.process_time() - spent)
        return {"seconds": clock, "process_seconds": alone}

    def _our_epoch(self) -> object:
        distiller, optimizer = self._ours()
        return next(fit(distiller, self.ready.batches, optimizer, self.recipe.schedule_of(), 1))

    def _usual_epoch(self, workers: int) -> float:
        loader = DataLoader(self.images, 128, shuffle=True, num_workers=workers)
        return torch.stack(usual(self.student, self.teacher, loader)).mean().item()

    def parts_of_a_step(self) -> dict[str, int]:
        """Microseconds of every part of relatum's step, the median over an epoch."""
        distiller, optimizer = self._ours()
        distiller.train()
        teacher, student = distiller.teacher, distiller.student
        assert isinstance(teacher, Teacher)
        tally, laps = Tally(1, len(self.ready.batches), {}), _Laps()
        with student.until({"embedding"}), teacher.tapped.until({"embedding"}):
            for batch in self.ready.batches.epoch(1):
                laps.end("cut the batch")
                taught = teacher(batch)
                laps.end("teacher")
                images = student.prepare(batch.images)
                said = student.read(images)
                laps.end("student")
                losses = distiller.objective(said, taught, batch, images)
                laps.end("loss")
                losses.total.backward()
                laps.end("backward")
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                laps.end("update")
                tally.add(losses.parts, 1, len(batch))
                laps.end("tally")
        return {name: round(statistics.median(each)) for name, each in laps.taken.items()}


class _OneStepEpochs:
    """Epochs of one step each, so that ``fit`` tells the loss of every step."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        yield from self._batches[number - 1 : number][start:]


class _Laps:
    """Microseconds between one moment and the next, by name."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self._since = time.perf_counter()

    def end(self, name: str) -> None:
        now = time.perf_counter()
        self.taken.setdefault(name, []).append((now - self._since) * 1e6)
        self._since = time.perf_counter()


@contextmanager
def _without_dropout(network: nn.Module) -> Iterator[None]:
    """Turn the dropout of a network off for a while."""
    before = {each: each.p for each in network.modules() if isinstance(each, nn.Dropout)}
    for layer in before:
        layer.p = 0.0
    yield
    for layer, probability in before.items():
        layer.p = probability


def _words(result: dict[str, Any]) -> str:
    medians, alone = (
        {name: statistics.median(each) for name, each in result[key].items()}
        for key in ("seconds", "process_seconds")
    )
    lines = [f"an epoch of {result['samples']:,} images, seconds (median, fastest, slowest)"]
    for name, each in result["seconds"].items():
        spread = f"{medians[name]:8.2f} {min(each):8.2f} {max(each):8.2f}"
        lines.append(f"{name:24}{spread}   {medians[name] / medians[OURS]:5.1f} times relatum's")
    ratio = f"{alone[THEIRS] / alone[OURS]:.1f} times"
    lines.append(f"of the process alone: {alone[OURS]:.2f} and {alone[THEIRS]:.2f}, {ratio}")
    apart = result["losses_apart_at_most"]
    lines.append(f"losses of the first {CHECKED} steps: {apart:.0e} of themselves apart")
    parts = result["microseconds_of_a_step"]
    whole = sum(parts.values())
    lines.append(f"relatum's step: {whole:,.0f} µs (medians)")
    lines += [f"  {name:15}{each:6.0f}  {each / whole:4.0%}" for name, each in parts.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
