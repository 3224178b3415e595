"""How long does an epoch of RRKD on MNIST take, through relatum and through the usual loop?

    python benchmarks/mnist_epoch.py --data FOLDER

Both teach the auto-encoder ``mnist-ae-32`` what ``mnist-ae-64`` relates: 60,000 images in batches
of 128, anchors in the batch, SGD (0.1, momentum 0.9) on the CPU. The usual loop is what one writes,
and what the paper's notebook does: torchvision's set, ``ToTensor`` and ``Normalize`` a sample at a
time, a ``DataLoader``, float32, a live teacher, the encoders alone, the loss in a few lines.
relatum runs at each of its speeds, and once more with what the teacher says kept from before. All
take turns, so that whatever else the machine does hits all; medians are compared. Before that,
twenty steps of both from the same weights, in the same order and without dropout must give the
same losses, to a ten-thousandth. The teacher is untrained: that costs the same.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from floor import floor, rates, work
from machine import machine
from step_check import OneStepEpochs
from step_parts import of_ours
from step_ways import Ours
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from relatum import Fault, Recipe, load, models
from relatum.datasets import Dataset
from relatum.fit import fit
from relatum.run.prepare import optimizer_of, prepare
from relatum.weights import save_weights

CPU, SHAPE = torch.device("cpu"), (1, 28, 28)
RESULT = Path(__file__).parent / "results" / "mnist_epoch.json"
CHECKED, TOLERANCE = 20, 1e-4
THEIRS, WORKERS = "DataLoader, no workers", "DataLoader, 2 workers"
SPEEDS, CACHED = ("exact", "fast", "max"), "cached teacher"


def main() -> int:
    """Check, measure, print and write down."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            both = Both(_recipe(asked.data, Path(folder)), Path(folder))
        except Fault as fault:
            print(fault, file=sys.stderr)
            return 2
        apart = both.furthest()
        if not apart <= TOLERANCE:
            print(f"the two loops differ: a loss by {apart:.1e} of itself", file=sys.stderr)
            return 1
        both.begin(Path(folder) / "cache")
        result = {
            "samples": len(both.ready.sets.train),
            "losses_apart_at_most": apart,
            **both.take_turns(asked.repeats),
            "microseconds_of_a_step": both.parts_of_a_step(),
            "floor_microseconds": both.floor(),
            "machine": machine(),
        }
    print(words(result))
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


def _recipe(root: Path | None, folder: Path) -> Recipe:
    """RRKD's experiment, its teacher's weights put into a folder."""
    torch.manual_seed(1)
    weights = folder / "teacher.safetensors"
    save_weights(models.create("mnist-ae-64", channels=1, size=28, classes=10), weights)
    return Recipe(
        dataset="mnist",
        data_root=None if root is None else str(root),
        student="mnist-ae-32",
        teacher=f"mnist-ae-64@{weights}",
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


class Both:
    """The same training twice: relatum's from a recipe, as its command builds it, and the usual.

    Args:
        recipe: of relatum's.
        folder: where the images are put as torchvision reads them.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.ready = prepare(recipe, CPU)
        large = self.ready.pair.setting.teacher_network
        assert large is not None
        self.images = as_torchvision_reads(load_again(recipe), folder)
        self.student: nn.Module = self.ready.pair.student.network
        self.teacher: nn.Module = large.network
        self.at_first = deepcopy(self.student.state_dict())
        self.ours: dict[str, Ours] = {}

    def begin(self, cache: Path) -> None:
        """Build relatum's training at each speed, with a live and with a cached teacher."""
        for speed in SPEEDS:
            self.ours[speed] = Ours(self.recipe.but(speed=speed), CPU)
        for speed in SPEEDS:
            recipe = self.recipe.but(speed=speed, cache=str(cache))
            self.ours[f"{speed}, {CACHED}"] = Ours(recipe, CPU)

    def furthest(self) -> float:
        """How far the losses of the first steps are apart, at most, as a share of themselves."""
        batches = list(islice(self.ready.batches.epoch(1), CHECKED))
        with _without_dropout(self.student):
            distiller, _ = self.ready.distiller(self.ready.stages[0])
            optimizer = optimizer_of(self.recipe, distiller)
            source = OneStepEpochs(batches)
            epochs = fit(distiller, source, optimizer, self.recipe.schedule_of(), CHECKED)
            ours = [epoch.losses["rrkd"] for epoch in epochs]
            self.student.load_state_dict(self.at_first)
            order = [batch.indices.tolist() for batch in batches]
            theirs = usual(self.student, self.teacher, DataLoader(self.images, batch_sampler=order))
            self.student.load_state_dict(self.at_first)
        return max(abs(1 - one / two.item()) for one, two in zip(ours, theirs, strict=True))

    def take_turns(self, repeats: int) -> dict[str, dict[str, list[float]]]:
        """Seconds of an epoch, each way, so many times: by the clock, and of this process alone.

        The second leave out what others took from it on a busy machine, and its own workers. One
        epoch of each, in which networks are compiled, comes before and does not count.
        """
        ways: dict[str, Callable[[], object]] = {
            **self.ours,
            THEIRS: lambda: self._usual_epoch(workers=0),
            WORKERS: lambda: self._usual_epoch(workers=2),
        }
        clock: dict[str, list[float]] = {name: [] for name in ways}
        alone: dict[str, list[float]] = {name: [] for name in ways}
        for each in self.ours.values():
            each()
        for _ in range(repeats):
            for name, way in ways.items():
                began, spent = time.perf_counter(), time.process_time()
                way()
                clock[name].append(time.perf_counter() - began)
                alone[name].append(time.process_time() - spent)
        return {"seconds": clock, "process_seconds": alone}

    def _usual_epoch(self, workers: int) -> float:
        self.student.load_state_dict(self.at_first)
        loader = DataLoader(self.images, 128, shuffle=True, num_workers=workers)
        return torch.stack(usual(self.student, self.teacher, loader)).mean().item()

    def parts_of_a_step(self) -> dict[str, dict[str, int]]:
        """Microseconds of every part of relatum's step, the median over an epoch."""
        taken = {name: of_ours(way)() for name, way in self.ours.items()}
        return {
            name: {part: round(1e6 * statistics.median(each)) for part, each in laps.items()}
            for name, laps in taken.items()
        }

    def floor(self) -> dict[str, float]:
        """The least that a step of the encoders takes in float32 (``floor.py``)."""
        teacher, student = (each.get_submodule("encoder") for each in (self.teacher, self.student))
        needed, reached = work(teacher, student, SHAPE, self.recipe.batch_size), rates(CPU)
        return {
            name: round(1e6 * floor(needed, reached, "float32", cached)["seconds"])
            for name, cached in (("live teacher", False), (CACHED, True))
        }


def load_again(recipe: Recipe) -> Dataset:
    """A recipe's set, as it was read."""
    root = None if recipe.data_root is None else Path(recipe.data_root)
    return load(recipe.dataset, root=root)


@contextmanager
def _without_dropout(network: nn.Module) -> Iterator[None]:
    """Turn the dropout of a network off for a while."""
    before = {each: each.p for each in network.modules() if isinstance(each, nn.Dropout)}
    for layer in before:
        layer.p = 0.0
    yield
    for layer, probability in before.items():
        layer.p = probability


def words(result: Mapping[str, Any]) -> str:
    """All of it, to read in a terminal or on a page."""
    medians, alone = (
        {name: statistics.median(each) for name, each in result[key].items()}
        for key in ("seconds", "process_seconds")
    )
    best = min(medians[THEIRS], medians[WORKERS])
    samples = f"{result['samples']:,} images"
    lines = [f"an epoch of {samples}, seconds: median (fastest to slowest), of the process alone"]
    for name, each in result["seconds"].items():
        spread = f"({min(each):.2f} to {max(each):.2f})"
        times = "" if name in (THEIRS, WORKERS) else f"{best / medians[name]:6.1f} times as fast"
        lines.append(f"{name:24}{medians[name]:6.2f} {spread:17}{alone[name]:6.2f}{times}")
    apart = result["losses_apart_at_most"]
    lines.append(f"losses of the first {CHECKED} steps: {apart:.0e} of themselves apart")
    parts = result["microseconds_of_a_step"]
    columns = "".join(f"{part:>9}" for part in next(iter(parts.values())))
    lines.append(f"{'a step, µs (medians)':24}{columns}{'all':>9}")
    for name, each in parts.items():
        cells = (*each.values(), sum(each.values()))
        lines.append(f"{name:24}{''.join(f'{cell:>9,}' for cell in cells)}")
    least = ", ".join(f"{name} {each:,}" for name, each in result["floor_microseconds"].items())
    lines.append(f"the arithmetic of a step alone, at the best rate of this machine, µs: {least}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
