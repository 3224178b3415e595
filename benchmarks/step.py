"""How long does a distillation step take: the straightforward loop's, and relatum's at each speed?

    python benchmarks/step.py --data FOLDER --cached

The CIFAR-100 benchmark's first pair and protocol: resnet32x4 teaches resnet8x4, batches of 64,
random crops and flips, SGD. The straightforward loop (``usual_loop.py``) is eager float32 with a
``DataLoader`` of single images, with no worker, one and two; its quickest is what the others are
compared with. Relatum's are built from a recipe, as its command builds them, at each speed, with a
teacher that runs and, with ``--cached``, with one whose words were kept. Before anything is timed,
some steps of both from the same weights on the same images must give the same losses, to a
ten-thousandth.

All take turns, a block of steps each, so that whatever else the machine does hits all; the first
blocks, in which things are compiled, do not count; medians are compared. A GPU is waited for at
the ends of blocks alone. A loader's workers may prepare two batches each while others have their
turn. Beside each time stands the least that the arithmetic and the memory traffic of such a step
would take at the rates that this machine reached in the same run (``floor.py``). Then come the
parts of a step, the memory that a process of its own holds, and the time of a small job from its
command to the trained student. The teacher knows nothing: that costs the same.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import small_job
import step_memory
import step_table
import torch
from floor import floor, rates, settle, work
from machine import machine
from step_check import losses_apart
from step_parts import Seconds, of_ours, of_usual
from step_settings import SIDE, Settings, begin
from step_ways import (
    CACHED,
    Ours,
    Usual,
    Way,
    built,
    kind_of,
    names_of,
)

from relatum import Fault

RESULT = Path(__file__).parent / "results" / "step.json"
TOLERANCE = 1e-4
STEPS = {"cpu": 4, "cuda": 200}
"""That are measured at a time."""
EPOCHS, IMAGES = 240, 50_000
"""Of the benchmark's protocol."""


def main() -> int:
    """Check, measure, print and write down."""
    asked = _arguments()
    if asked.alone is not None:
        print(json.dumps(step_memory.alone(_settings(asked, Path(asked.folder)), asked.alone)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = measured(asked, Path(folder))
        except Fault as fault:
            print(fault, file=sys.stderr)
            return 2
    print(step_table.words(result))
    if not asked.no_write:
        asked.out.parent.mkdir(exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--pair", default="resnet32x4,resnet8x4", help="teacher and student, with a comma between")
    add("--batch", type=int, default=64, help="samples a step (default: 64)")
    add("--methods", default="sp,rrd", help="sp, rrd or both (default)")
    add("--repeats", type=int, default=5, help="blocks of each way (default: 5)")
    add("--steps", type=int, help=f"of a block (default: {STEPS['cpu']}, on a GPU {STEPS['cuda']})")
    add("--speeds", default="exact,fast,max", help="of relatum (default: all three)")
    add("--workers", default="0,1,2", help="of the straightforward loop's loader")
    add("--cached", action="store_true", help="relatum with a cached teacher, too")
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add("--data", type=Path, help="the folder that CIFAR-100 is in; random images without one")
    add("--without", default="", help="leave out: parts, switches, memory, small-job")
    add("--out", type=Path, default=RESULT, help=f"where to (default: {RESULT.name})")
    add("--no-write", action="store_true", help="leave that file as it is")
    add("--alone", help=argparse.SUPPRESS)
    add("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args(given)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    asked.device = torch.device(found if asked.device == "auto" else asked.device)
    asked.steps = asked.steps or STEPS[asked.device.type]
    asked.without = set(filter(None, asked.without.split(",")))
    return asked


def _settings(asked: argparse.Namespace, folder: Path) -> Settings:
    teacher, student = asked.pair.split(",")
    method = asked.methods.partition(",")[0]
    return Settings(
        (teacher, student), method, asked.batch, asked.steps, asked.device, asked.data, folder
    )


def measured(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that was asked for, by name."""
    result: dict[str, Any] = {
        "pair": asked.pair.split(","),
        "batch": asked.batch,
        "steps_of_a_block": asked.steps,
        "images": "CIFAR-100" if asked.data else "random, of CIFAR-100's shape",
        "steps_of_240_epochs": EPOCHS * (IMAGES // asked.batch),
        "device": torch.cuda.get_device_name() if asked.device.type == "cuda" else "cpu",
        "rates": rates(asked.device),
        "methods": {},
    }
    for place, method in enumerate(asked.methods.split(",")):
        settings = _settings(asked, folder).of(method)
        begin(settings)
        chain = not place and "switches" not in asked.without
        found = _method(asked, settings, chain, result["rates"])
        if "memory" not in asked.without:
            found["memory"] = step_memory.of_each(settings, list(found["seconds_of_a_step"]))
        result["methods"][method] = found
    if "small-job" not in asked.without:
        result["small_job"] = small_job.take_turns(asked.speeds.split(","), min(asked.repeats, 3))
    result["machine"] = machine()
    return result


def _method(
    asked: argparse.Namespace, settings: Settings, chain: bool, rates: Mapping[str, Any]
) -> dict[str, Any]:
    """One method: that both loops agree, then every way's times, floors and parts.

    Raises:
        Fault: they do not.
    """
    apart = losses_apart(settings)
    if not apart <= TOLERANCE:
        raise Fault(f"{settings.method}: the two loops differ, a loss by {apart:.1e} of itself")
    workers = [int(each) for each in asked.workers.split(",")]
    speeds = asked.speeds.split(",")
    names = names_of(workers, speeds, asked.cached, chain, settings.device)
    ways = {name: built(settings, name) for name in names}
    found: dict[str, Any] = {"losses_apart_at_most": apart}
    found["first_block_seconds"] = {name: _seconds(way, asked.device) for name, way in ways.items()}
    found |= _take_turns(ways, asked)
    found["replayed"] = {
        name: way.replay.obstacle or way.replay.played
        for name, way in ways.items()
        if isinstance(way, Ours) and way.replay is not None
    }
    found["floor_seconds"] = _floors(settings, ways, rates)
    if "parts" not in asked.without:
        found["parts_seconds"] = _parts(ways, asked)
    for way in ways.values():
        if isinstance(way, Usual):
            way.close()
    return found


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    settle(device)
    began = time.perf_counter()
    run()
    settle(device)
    return time.perf_counter() - began


def _take_turns(ways: Mapping[str, Way], asked: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step, each way, so many times: by the clock, and of this process alone.

    The second leave out what others took from it on a busy machine, and count its threads one by
    one; they know nothing of a GPU.
    """
    clock: dict[str, list[float]] = {name: [] for name in ways}
    alone: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.repeats):
        for name, way in ways.items():
            spent = time.process_time()
            clock[name].append(_seconds(way, asked.device) / asked.steps)
            alone[name].append((time.process_time() - spent) / asked.steps)
    return {"seconds_of_a_step": clock, "process_seconds_of_a_step": alone}


def _floors(
    settings: Settings, ways: Mapping[str, Way], rates: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """The least that each way's step could take, in the type of number that it multiplies."""
    one = next(way for way in ways.values() if isinstance(way, Usual))
    networks = (one.loop.teacher.network, one.loop.student.network)
    needed = work(*networks, (3, SIDE, SIDE), settings.batch)
    return {name: floor(needed, rates, kind_of(way), CACHED in name) for name, way in ways.items()}


def _parts(ways: Mapping[str, Way], asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of every part of a step, the median over two blocks that take turns."""
    epochs = {
        name: of_ours(way) if isinstance(way, Ours) else of_usual(way, asked.steps)
        for name, way in ways.items()
    }
    taken: dict[str, Seconds] = {}
    for _ in range(2):
        for name, epoch in epochs.items():
            laps = taken.setdefault(name, {})
            for part, each in epoch().items():
                laps.setdefault(part, []).extend(each)
    return {
        name: {part: statistics.median(each) for part, each in laps.items()}
        for name, laps in taken.items()
    }


if __name__ == "__main__":
    sys.exit(main())
