"""What do several students cost that are trained beside each other, at one pass of their teacher?

    python benchmarks/beside.py [--pair resnet14,resnet8] [--methods kd,sp,rkd,rrd] [--speed exact]

Each method is trained by itself, one after the other, and then all of them in one process, as
``relatum bench --together`` does it; the two take turns, so that whatever else the machine does
hits both, and medians are compared. What is counted are the seconds of training, without the
building of networks and without evaluation, which nothing is shared in. Images are random, of
CIFAR-100's shape, and the teacher is untrained: that costs the same. At ``exact`` both must end in
the same weights.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import machine

from relatum import Fault, Recipe
from relatum.bench.attempt import Attempt, Outcome
from relatum.bench.beside import Abreast
from relatum.bench.experiment import Cell
from relatum.checkpoint import Stop
from relatum.data import Resident
from relatum.datasets import DATASETS, Dataset
from relatum.run import run
from relatum.run.trained import WEIGHTS

RESULT = Path(__file__).parent / "results" / "beside.json"
SET = "random-of-cifar100"


def main() -> int:
    """Measure, print and write down."""
    asked = _arguments()
    device = torch.device(asked.device)
    DATASETS[SET] = lambda root, download: _images(asked.batch * asked.steps)
    with tempfile.TemporaryDirectory() as folder:
        try:
            cells = _cells(asked, Path(folder), device)
            found = [_both(cells, Path(folder), device, each) for each in range(asked.repeats)]
        except Fault as fault:
            print(fault, file=sys.stderr)
            return 2
    result = _result(asked, found)
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _cells(asked: argparse.Namespace, folder: Path, device: torch.device) -> tuple[Cell, ...]:
    teacher, student = asked.pair.split(",")
    recipe = Recipe(
        dataset=SET,
        student=student,
        augment=("crop", "flip"),
        batch_size=asked.batch,
        epochs=1,
        learning_rate=0.01,
        speed=asked.speed,
    )
    run(recipe.but(student=teacher, epochs=0), folder / "teacher", device=device)
    taught = recipe.but(teacher=str(folder / "teacher"))
    methods = asked.methods.split(",")
    return tuple(Cell(name, name, taught.but(method=name)) for name in methods)


def _both(cells: tuple[Cell, ...], folder: Path, device: torch.device, number: int) -> Any:
    """Seconds of training by each way, and whether both ended in the same weights."""
    apart, beside = folder / f"{number}-apart", folder / f"{number}-beside"
    one_by_one = [Attempt(cell, apart)(device, Stop(), _silent).value for cell in cells]
    together = Abreast(cells, beside)(device, Stop(), _silent).value
    assert isinstance(together, dict)
    abreast = [each.value for each in together.values()]
    same = all(
        (apart / cell.folder / WEIGHTS).read_bytes()
        == (beside / cell.folder / WEIGHTS).read_bytes()
        for cell in cells
    )
    return _seconds(one_by_one), _seconds(abreast), same


def _seconds(outcomes: list[object]) -> float:
    total = 0.0
    for each in outcomes:
        assert isinstance(each, Outcome)
        if each.record is None:
            raise Fault(each.reason)
        total += each.record.seconds
    return total


def _result(asked: argparse.Namespace, found: list[Any]) -> dict[str, Any]:
    apart, beside = (statistics.median(each[way] for each in found) for way in (0, 1))
    students = len(asked.methods.split(","))
    return {
        **{name: getattr(asked, name) for name in ("pair", "methods", "speed", "batch", "steps")},
        "repeats": asked.repeats,
        "milliseconds_apart": round(1000 * apart / asked.steps / students, 2),
        "milliseconds_beside": round(1000 * beside / asked.steps / students, 2),
        "ratio": round(apart / beside, 3),
        "ratios": [round(each[0] / each[1], 3) for each in found],
        "same_weights": all(each[2] for each in found),
        "machine": machine(),
    }


def _images(samples: int) -> Dataset:
    drawn = torch.Generator().manual_seed(0)

    def part(count: int) -> Resident:
        images = torch.randint(256, (count, 3, 32, 32), generator=drawn, dtype=torch.uint8)
        return Resident(images, torch.randint(100, (count,), generator=drawn))

    names = tuple(map(str, range(100)))
    return Dataset(SET, part(samples), part(100), names, (0.5,) * 3, (0.25,) * 3, "random bytes")


def _silent(message: object) -> None:
    """Nobody listens."""


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = asked.add_argument
    add("--pair", default="resnet14,resnet8", help="teacher,student")
    add("--methods", default="kd,sp,rkd,rrd", help="one student each")
    add("--speed", default="exact", choices=("exact", "fast", "max"))
    add("--batch", type=int, default=64)
    add("--steps", type=int, default=32, help="of each training")
    add("--repeats", type=int, default=5)
    add("--device", default="cpu")
    add("--write", action="store_true", help=f"to results/{RESULT.name}")
    return asked.parse_args()


if __name__ == "__main__":
    if "OMP_WAIT_POLICY" not in os.environ:  # as a bench's worker has it, and read at the start
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.exit(main())
