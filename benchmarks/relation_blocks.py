"""What does a relational loss cost by the batch, its relation held whole or taken in blocks?

    python benchmarks/relation_blocks.py

Embeddings of 256 numbers, maps of 64×8×8, logits of 128 classes, 16,384 rows or negatives of a
memory (CRD's banks: 50,000), float32 on the CPU. A step is forward, backward and, where there is
one, the update of the memory. Whole is the same code with ``blocks.AT_ONCE`` out of reach; where
nothing is cut the two are one, and measured once.

Memory is what a step adds, at its fullest, to a process that holds the loss and its inputs: the
kernel's count of resident pages (VmHWM less VmRSS), in a process of its own whose allocator hands
back at once what is freed, so that it is what lives and not what is kept for later. Time is that
of the process, not the clock's, which others on the machine lengthen: the median of five steps
after one that does not count, in another process; of the one step that was measured for its
memory where that took long. What would need more memory or time than the limits is not run, and
what it would need is worked out from the next smaller batch.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from machine import machine, memory
from torch import Tensor, nn

from relatum import blocks, losses

RESULT = Path(__file__).parent / "results" / "relation_blocks.json"
BATCHES = (64, 256, 1024, 4096)
WIDTH, MAP, CLASSES, MEMORY, SAMPLES, TRIPLETS = 256, (64, 8, 8), 128, 16384, 50_000, 2**16
LIMIT, PATIENCE, LONG = 8.0, 150.0, 6.0
"""Gibibytes and seconds of a step above which a size is left out, and seconds above which one
step will do."""
WHOLE, BLOCKS = WAYS = ("whole", "in blocks")
PAGE = Path(__file__).parents[1] / "docs" / "cost.md"
MARKS = ("<!-- benchmarks/relation_blocks.py -->", "<!-- end -->")
MIB = 2**20


@dataclass(frozen=True)
class Subject:
    """A loss, what it is fed, and the powers of the batch by which its cost grows."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (WIDTH,)
    power: int = 2
    work: int = 2
    indices: bool = False


SUBJECTS: dict[str, Subject] = {
    "SP": Subject(losses.SP, MAP),
    "RRKD": Subject(losses.RRKD),
    "PKT": Subject(losses.PKT),
    "RKDDistance": Subject(losses.RKDDistance),
    "RKDAngle": Subject(losses.RKDAngle, power=3, work=3),
    "RKDAngle, 65,536 triplets": Subject(
        lambda: losses.RKDAngle(TRIPLETS, seed=0), power=1, work=1
    ),
    "LP": Subject(lambda: losses.LP(sigma="median")),
    "CC, rbf": Subject(lambda: losses.CC(kind="rbf")),
    "EGA": Subject(losses.EGA),
    "DCD": Subject(lambda: losses.DCD(WIDTH, WIDTH)),
    "ITRD": Subject(lambda: losses.ITRD(WIDTH, WIDTH)),
    "MLKD": Subject(losses.MLKD, (CLASSES,)),
    "SKD": Subject(losses.SKD, (CLASSES,), work=3),
    "RRD": Subject(lambda: losses.RRD(WIDTH, WIDTH, queue_size=MEMORY), power=1, work=1),
    "CRD": Subject(
        lambda: losses.CRD(WIDTH, WIDTH, SAMPLES, negatives=MEMORY, seed=0),
        power=1,
        work=1,
        indices=True,
    ),
}


class Step:
    """A loss and a batch: one step whenever it is called."""

    def __init__(self, name: str, batch: int) -> None:
        subject = SUBJECTS[name]
        torch.manual_seed(0)
        self.loss = subject.make()
        self.student = torch.randn(batch, *subject.shape).requires_grad_()
        self.inputs = {"teacher": torch.randn(batch, *subject.shape)}
        if subject.indices:
            self.inputs["indices"] = torch.randperm(SAMPLES)[:batch]

    def __call__(self) -> None:
        """Loss, backward pass, update of the memory."""
        self.loss.zero_grad()
        self.student.grad = None
        value: Tensor = self.loss(self.student, **self.inputs)
        value.backward()  # type: ignore[no-untyped-call]


def measured(name: str, repeats: int) -> dict[str, dict[str, Any]]:
    """What every batch costs, by batch and way; what is left out has ``needs`` instead."""
    found: dict[str, dict[str, Any]] = {}
    last: dict[str, dict[str, float]] = {}
    for batch in BATCHES:
        sizes = found[str(batch)] = {}
        for way in reversed(WAYS):
            same = way == WHOLE and sizes[BLOCKS].get("blocks") == 1
            needs = _needed(SUBJECTS[name], way, last.get(way))
            if same:
                sizes[way] = sizes[BLOCKS]
            elif needs["gibibytes"] > LIMIT or needs["seconds"] > PATIENCE:
                sizes[way] = {"needs": needs}
            else:
                sizes[way] = _measure(name, batch, way, repeats)
            last[way] = _cost(sizes[way])
            print(name, batch, way, sizes[way], file=sys.stderr, flush=True)
    return found


def _needed(subject: Subject, way: str, smaller: dict[str, float] | None) -> dict[str, float]:
    """By arithmetic: what the next batch takes, four times as large as the last."""
    if smaller is None:
        return {"gibibytes": 0.0, "seconds": 0.0}
    times = BATCHES[1] // BATCHES[0]
    power = subject.power if way == WHOLE else 1
    return {
        "gibibytes": smaller["gibibytes"] * times**power,
        "seconds": smaller["seconds"] * times**subject.work,
    }


def _cost(size: dict[str, Any]) -> dict[str, float]:
    if "needs" in size:
        needs: dict[str, float] = size["needs"]
        return needs
    seconds = statistics.median(size["process_milliseconds"]) / 1e3
    return {"gibibytes": size["peak_mebibytes"] / 1024, "seconds": seconds}


def _measure(name: str, batch: int, way: str, repeats: int) -> dict[str, Any]:
    """One size of one loss, whole or in blocks: times, memory, and how often it was cut."""
    peak, seconds, parts = _apart(_peak, name, batch, way)
    times = [seconds] if seconds > LONG else _apart(_timed, name, batch, way, repeats)
    return {
        "process_milliseconds": [each * 1e3 for each in times],
        "peak_mebibytes": peak,
        "blocks": parts,
    }


def _apart(function: Callable[..., Any], *given: Any) -> Any:
    """In a process of its own, which a fork makes in no time, torch being loaded."""
    with get_context("fork").Pool(1) as pool:
        return pool.apply(function, given)


def _timed(name: str, batch: int, way: str, repeats: int) -> list[float]:
    _settle(way)
    step = Step(name, batch)
    step()
    return [_taken(step) for _ in range(repeats)]


def _taken(step: Step) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def _peak(name: str, batch: int, way: str) -> tuple[float, float, int]:
    """Mebibytes and seconds of one step, and in how many blocks its relation was taken."""
    counts = _settle(way)
    # glibc's M_MMAP_THRESHOLD: every tensor of 64 KiB or more has its own pages, gone when it goes
    ctypes.CDLL(None).mallopt(-3, 2**16)
    step = Step(name, batch)
    Step(name, 8)()  # libraries are loaded, and their own buffers made
    counts.clear()
    ctypes.CDLL(None).malloc_trim(0)  # and what they freed is gone
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    seconds = _taken(step)
    return memory("VmHWM") - before, seconds, max(counts, default=1)


def _load() -> None:
    """Have torch import what it imports at the first backward pass of blocks: 160 MiB of code."""
    at_once, blocks.AT_ONCE = blocks.AT_ONCE, 1
    Step("RRKD", 8)()
    blocks.AT_ONCE = at_once


def _settle(way: str) -> list[int]:
    """Choose the way, and count the blocks of every relation from here on."""
    if way == WHOLE:
        blocks.AT_ONCE = 2**62
    counts: list[int] = []
    split = blocks.split

    def counted(*given: Any, **named: Any) -> list[tuple[Tensor, ...]]:
        parts = split(*given, **named)
        if "at_once" not in named:  # slices of a bank are not what is asked
            counts.append(len(parts))
        return parts

    blocks.split = counted
    return counts


def table(result: dict[str, Any]) -> str:
    """The page's table: for each loss and batch, time and memory, whole and in blocks."""
    head = [f"{batch} {way}" for batch in BATCHES for way in WAYS]
    lines = ["| loss | | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    for name, sizes in result["losses"].items():
        for what, words in (("ms", _time), ("MiB", _size)):
            cells = [words(sizes[str(b)][way]) for b in BATCHES for way in WAYS]
            for place in range(1, len(cells), 2):
                if sizes[str(BATCHES[place // 2])][BLOCKS].get("blocks") == 1:
                    cells[place] = "="
            lines.append(f"| {name if what == 'ms' else ''} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(size: dict[str, Any]) -> str:
    if "needs" in size:
        return f"*{_digits(size['needs']['seconds'] * 1e3)}*"
    return _digits(statistics.median(size["process_milliseconds"]))


def _size(size: dict[str, Any]) -> str:
    if "needs" in size:
        return f"*{_digits(size['needs']['gibibytes'] * 1024)}*"
    return _digits(size["peak_mebibytes"])


def _digits(number: float) -> str:
    """Two digits that count, or all before the point."""
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def main() -> int:
    """Measure, print, write down, and put the table into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", metavar="LOSS", help="measure these anew")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each (default: 5)")
    parser.add_argument("--page", action="store_true", help="only write the table anew")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {"losses": {}}
    if not asked.page:
        _load()
        for name in asked.only or SUBJECTS:
            kept["losses"][name] = measured(name, asked.repeats)
            kept["machine"] = machine()
            RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    kept["losses"] = {name: kept["losses"][name] for name in SUBJECTS if name in kept["losses"]}
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{table(kept)}\n{MARKS[1]}{after}", encoding="utf-8")
    print(table(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
