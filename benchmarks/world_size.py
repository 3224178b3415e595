"""Is a training on eight processes that on one, and what do other ways make of it?

    python benchmarks/world_size.py

A perceptron learns from another one, float64 on the CPU, gloo, three batches of 64, 61 and 64
samples of all processes together, so one of them is shared out unevenly; the weights stay, queues
and banks move. The yardstick is one process with the whole batch. Beside relatum, at once and in
microbatches, stand two ways that are common elsewhere, both with the same mean of gradients over
processes as DDP's: relations of each process's own samples alone; and relations of all samples, of
which those of other processes come without a gradient.

Errors are the largest of the three steps, relative to the yardstick; a gradient's is the length of
the difference by the length of what is wanted, over all parameters. Times are of float32 steps of
64 samples by the clock, forward to mean gradient, medians of the first process, the
geometric mean over losses: all processes
share this machine's cores, so they tell what a way adds, and not what more devices save.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from machine import machine
from torch import Tensor, nn

from relatum import losses, world
from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.objective import Objective, Term
from relatum.taps import Tap, Tapped
from relatum.teachers import Teacher
from relatum.types import Batch

RESULT = Path(__file__).parent / "results" / "world_size.json"
WORLDS = (1, 2, 4, 8)
SIZES, MICROBATCH, SAMPLES = (64, 61, 64), 3, 256
STUDENT, TEACHER, PIXELS = 32, 48, 16
EXACT, PARTS, OWN, DETACHED = WAYS = (
    "relatum, at once",
    f"relatum, microbatches of {MICROBATCH}",
    "relations of each process's own samples",
    "samples of others without a gradient",
)
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "SP": losses.SP,
    "RRKD": losses.RRKD,
    "RKD": losses.RKD,
    "PKT": losses.PKT,
    "RRD": lambda: losses.RRD(STUDENT, TEACHER, queue_size=160),
    "CRD": lambda: losses.CRD(STUDENT, TEACHER, SAMPLES, negatives=64),
}
TOLERANCE = 1e-9
Step = tuple[float, Tensor]
"""A loss and the gradient of all parameters."""
Told = tuple[dict[str, dict[str, list[Step]]], dict[str, dict[str, float]]]
"""Of every loss and way, its steps, and its milliseconds."""


def main() -> int:
    """Train in every world, compare, print and write down."""
    asked = _arguments()
    torch.set_num_threads(1)
    told = {size: _in_world(size, asked.repeats) for size in WORLDS}
    steps, _ = told[1]
    wanted = {name: ways[EXACT] for name, ways in steps.items()}
    compared = {
        size: {
            name: {way: _compared(found, wanted[name]) for way, found in ways.items()}
            for name, ways in steps.items()
        }
        for size, (steps, _) in told.items()
    }
    result = {
        "batches": SIZES,
        "compared": compared,
        "milliseconds": {size: times for size, (_, times) in told.items()},
        "machine": machine(),
    }
    print(_words(result))
    if not asked.no_write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    ours = [
        each[way]
        for way in (EXACT, PARTS)
        for found in compared.values()
        for each in found.values()
    ]
    off = max(max(each["loss_off"], each["gradient_off"]) for each in ours)
    print(f"\nrelatum is off by {off:.1e} at most")
    return int(not off <= TOLERANCE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="timed steps (default: 10)")
    parser.add_argument("--no-write", action="store_true", help=f"leave {RESULT.name} as it is")
    return parser.parse_args()


def _in_world(size: int, repeats: int) -> Told:
    """What the first of so many processes finds, in processes of their own."""
    with TemporaryDirectory() as folder, get_context("spawn").Pool(size) as pool:
        told = pool.starmap(
            _process, [(rank, size, folder, repeats) for rank in range(size)], chunksize=1
        )
    return told[0]


def _process(rank: int, size: int, folder: str, repeats: int) -> Told:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=300),
    )
    steps = {name: {way: _steps(name, way) for way in WAYS} for name in LOSSES}
    times = {name: _times(name, repeats) for name in LOSSES}
    dist.barrier()
    dist.destroy_process_group()
    return steps, times


def _steps(name: str, way: str) -> list[Step]:
    trained = Trained(name, way)
    return [trained(number) for number in range(len(SIZES))]


def _times(name: str, repeats: int) -> dict[str, float]:
    """Milliseconds of a step by every way, which take turns."""
    trained = {way: Trained(name, way, torch.float32) for way in WAYS}
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(repeats + 2):
        for way, each in trained.items():
            dist.barrier()
            began = time.perf_counter()
            each.step(0)
            if turn > 1:
                taken[way].append((time.perf_counter() - began) * 1e3)
    return {way: statistics.median(each) for way, each in taken.items()}


class Trained:
    """A student that is taught by one loss in one way.

    Args:
        name: of the loss.
        way: how several processes share its work.
        dtype: of all of it.
    """

    def __init__(self, name: str, way: str, dtype: torch.dtype = torch.float64) -> None:
        torch.manual_seed(0)
        self.way, self.dtype = way, dtype
        student = Tapped(_network(STUDENT), {"embedding": Tap("3")})
        self.teacher = Teacher(_network(TEACHER), {"embedding": Tap("3")}).to(dtype)
        self.loss = LOSSES[name]()
        objective = Objective(term=Term(self.loss, on="embedding"))
        self.distiller = Distiller(student, self.teacher, objective)
        self.distiller.learner.to(dtype)
        self.distiller.train()
        self.learning = self.distiller.parameters()

    def __call__(self, number: int) -> Step:
        """The loss of a batch, and the mean gradient that an optimiser would be given."""
        value = self.step(number)
        found = [each.grad.flatten() for each in self.learning if each.grad is not None]
        return float(world.mean(value)), torch.cat(found).clone()

    def step(self, number: int) -> Tensor:
        """Forward, backward, mean of gradients."""
        for parameter in self.learning:
            parameter.grad = None
        batch = _batch(number, self.dtype)
        if self.way == PARTS:
            return accumulate(self.distiller, batch, MICROBATCH).total.detach()
        if self.way == EXACT:
            self.distiller.spread(batch)
            value = self.distiller.losses(batch).total
            value.backward()  # type: ignore[no-untyped-call]
            return value.detach()
        return self._otherwise(batch)

    def _otherwise(self, batch: Batch) -> Tensor:
        """As one writes it who forgets about the other processes, or their gradient."""
        given: dict[str, Any] = {
            "student": self.distiller.student(batch.images).read("embedding"),
            "teacher": self.teacher(batch).read("embedding"),
        }
        if isinstance(self.loss, losses.CRD):
            given["indices"] = batch.indices
        if self.way == DETACHED:
            given = {need: _with_others(rows, batch) for need, rows in given.items()}
        value: Tensor = self.loss(**given)
        value.backward()  # type: ignore[no-untyped-call]
        world.average(each.grad for each in self.learning if each.grad is not None)
        return value.detach()


def _with_others(rows: Tensor, batch: Batch) -> Tensor:
    """The rows of all processes, of which this one's alone have a gradient."""
    assert batch.shares is not None
    parts = list(torch.split(world.gather(rows.detach(), batch.shares), list(batch.shares)))
    parts[world.rank()] = rows
    return torch.cat(parts)


def _network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(PIXELS**2, 2 * width), nn.Tanh(), nn.Linear(2 * width, width)
    )


def _batch(number: int, dtype: torch.dtype) -> Batch:
    """This process's part of a batch."""
    generator = torch.Generator().manual_seed(number)
    length = SIZES[number]
    images = torch.rand(length, 1, PIXELS, PIXELS, generator=generator).to(dtype)
    indices = torch.randperm(SAMPLES, generator=generator)[:length]
    part = world.own(length)
    return Batch(images[part], None, indices[part], shares=world.shares(length))


def _compared(found: list[Step], wanted: list[Step]) -> dict[str, float]:
    """How far loss and gradient are off, at worst, and how large they are at the last step."""
    pairs = list(zip(found, wanted, strict=True))
    (value, gradient), (right, exact) = pairs[-1]
    return {
        "loss_off": max(abs(one[0] / other[0] - 1) for one, other in pairs),
        "gradient_off": max(float((o[1] - w[1]).norm() / w[1].norm()) for o, w in pairs),
        "loss_times": value / right,
        "gradient_times": float(gradient.norm() / exact.norm()),
    }


def _words(result: Mapping[str, Any]) -> str:
    compared, several = result["compared"], WORLDS[1:]

    def column(name: str, way: str, what: str, form: str) -> str:
        return " / ".join(f"{compared[size][name][way][what]:{form}}" for size in several)

    def worst(name: str, way: str) -> str:
        off = [compared[size][name][way] for size in WORLDS]
        return f"{max(max(one['loss_off'], one['gradient_off']) for one in off):.0e}"

    lines = [
        f"{'/'.join(map(str, several))} processes against one, loss and gradient",
        "",
        "| loss | relatum is off by | in microbatches | own samples: loss, times |"
        " gradient, times | gradient is off by | others without gradient: gradient, times |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in LOSSES:
        cells = (
            worst(name, EXACT),
            worst(name, PARTS),
            column(name, OWN, "loss_times", ".2f"),
            column(name, OWN, "gradient_times", ".2f"),
            column(name, OWN, "gradient_off", ".0%"),
            column(name, DETACHED, "gradient_times", ".3g"),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| ms a step | {' | '.join(map(str, WORLDS))} |", "|---" * 5 + "|"]
    for way in WAYS:
        means = [
            math.exp(statistics.mean(math.log(one[way]) for one in times.values()))
            for times in result["milliseconds"].values()
        ]
        lines.append(f"| {way} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
