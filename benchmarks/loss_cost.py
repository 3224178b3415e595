"""What does every method's loss add to a step of the networks alone?

    python benchmarks/loss_cost.py

The pair resnet32x4 → resnet8x4 at CIFAR-100's size (100 classes, embeddings of 256 numbers, last
maps of 256×8×8, 50,000 samples for banks; random weights and images). Every method of
``relatum list methods`` is built for it by ``METHODS``, so heads, taps and weights are those of a
training. Its step is: the losses on what the networks said, the backward pass to the student's
taps and to the heads, and the heads' share of the update. SimKD's projector, which belongs to its
student, counts as a head. Cross-entropy with the labels belongs to the networks' own step: the
teacher's forward pass, the student's forward and backward pass and its update.

At ``exact`` the taps are float32. At ``fast`` they are as that has them: channels last and, where
the hardware multiplies in it, bfloat16; the networks' step is that of ``fast``, its teacher folded.
Losses and heads compute in float32 in both. At the batch that is compared, all methods and the
networks take turns, a step each, round by round: what else the machine does hits all of them, and
every loss finds the caches as other work left them, as in a training. Medians are compared: on one
thread of a processor of the process's own time, which others on the machine do not lengthen, else
of the clock's. A
larger batch is shown beside, without the networks; a step of more than 2 seconds is taken once.
Peak memory is what a step adds, at its fullest, to a process of its own that holds the inputs.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from loss_steps import SPEEDS, Work, made_up, networks, pair, steps
from machine import machine, memory

RESULT = Path(__file__).parent / "results" / "loss_cost.json"
PAGE = Path(__file__).parents[1] / "docs" / "cost.md"
MARKS = ("<!-- benchmarks/loss_cost.py -->", "<!-- end of loss_cost -->")
BATCHES, COMPARED = (64, 256, 1024), 64
"""Of all; and of those at which losses are compared with the networks."""
LONG = 2.0
"""Seconds of a step above which one will do."""
NETWORKS = ("teacher", "student")
MIB = 2**20
Taken = tuple[float, float]
"""Milliseconds of a step by the clock, and those of the process."""


def main() -> int:
    """Measure, write down, put the table into the page and print it."""
    asked = _arguments()
    kept: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if not asked.page:
        for batch in asked.batches:
            for word in asked.speeds if batch == COMPARED else SPEEDS[:1]:
                _measure(kept, batch, word, asked)
                kept["machine"] = machine()
                if not asked.no_write:
                    RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    words = table(kept["cost"])
    if not asked.no_write:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        PAGE.write_text(f"{before}{MARKS[0]}\n{words}\n{MARKS[1]}{after}", encoding="utf-8")
    print(words)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES, choices=BATCHES)
    parser.add_argument("--speeds", nargs="*", default=SPEEDS, choices=SPEEDS)
    parser.add_argument("--threads", nargs="*", type=int, default=(1, 2), metavar="N")
    parser.add_argument("--only", nargs="*", metavar="METHOD", help="measure these anew")
    parser.add_argument("--repeats", type=int, default=9, help="steps of each (default: 9)")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--page", action="store_true", help="only write the table anew")
    parser.add_argument(
        "--no-write", action="store_true", help="leave results and page as they are"
    )
    return parser.parse_args()


def _measure(kept: dict[str, Any], size: int, word: str, asked: argparse.Namespace) -> None:
    """One batch at one speed, with every number of threads, into what is kept."""
    device = torch.device(asked.device)
    torch.set_num_threads(1)  # until all forks are made
    own, batch = pair(word, device), made_up(size, device)
    works = {
        name: work
        for name, work in steps(own, batch).items()
        if not asked.only or name.partition(",")[0] in asked.only
    }
    peaks = {name: _peak(work, device) for name, work in works.items()}
    # the step of the networks is measured in the same rounds, always
    turns = {**(networks(own, batch) if size == COMPARED else {}), **works}
    for threads in asked.threads:
        torch.set_num_threads(threads)
        taken = take_turns(turns, asked.repeats, device)
        place = kept.setdefault("cost", {}).setdefault(device.type, {}).setdefault(str(size), {})
        place = place.setdefault(word, {}).setdefault(str(threads), {})
        for name, each in taken.items():
            clock, process = zip(*each, strict=True)
            place[name] = {"milliseconds": clock, "process_milliseconds": process}
            if name in peaks:
                place[name]["peak_mebibytes"] = peaks[name]
        print(size, word, threads, "done", file=sys.stderr, flush=True)


def take_turns(
    works: Mapping[str, Work], repeats: int, device: torch.device, long: float = LONG
) -> dict[str, list[Taken]]:
    """How long every piece of work takes, one of each in turn, the first round not counted.

    Args:
        works: by their names.
        repeats: rounds that count.
        device: where they are done.
        long: seconds above which the first round is taken, and no other made.
    """
    first = {name: _taken(work, device) for name, work in works.items()}
    found = {name: [took] if took[0] > long * 1e3 else [] for name, took in first.items()}
    for _ in range(repeats):
        for name, work in works.items():
            if first[name][0] <= long * 1e3:
                found[name].append(_taken(work, device))
    return found


def _taken(work: Work, device: torch.device) -> Taken:
    _wait(device)
    clock, process = time.perf_counter(), time.process_time()
    work()
    _wait(device)
    return (time.perf_counter() - clock) * 1e3, (time.process_time() - process) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak(work: Work, device: torch.device) -> float:
    """Mebibytes that a step adds at its fullest."""
    work()  # libraries are loaded, and heads have what their optimiser keeps
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    _HELD[:] = [work]  # a fork has it too
    with get_context("fork").Pool(1) as pool:
        return float(pool.apply(_resident))


_HELD: list[Work] = []


def _resident() -> float:
    # glibc's M_MMAP_THRESHOLD: every tensor of 64 KiB or more has its own pages, gone when it goes
    ctypes.CDLL(None).mallopt(-3, 2**16)
    (work,) = _HELD
    work()  # what a fork makes for itself at its first step is none of the step's
    ctypes.CDLL(None).malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    work()
    return max(memory("VmHWM") - before, 0.0)


def table(cost: Mapping[str, Any]) -> str:
    """The page's tables, one for each kind of device: what each method adds, the dearest first."""
    return "\n\n".join(_table(kind, sizes) for kind, sizes in cost.items())


def _table(kind: str, sizes: Mapping[str, Any]) -> str:
    compared = sizes[str(COMPARED)]
    ways = [(word, threads) for word, runs in compared.items() for threads in runs]
    large = [
        (size, threads)
        for size, runs in sizes.items()
        if size != str(COMPARED)
        for threads in runs["exact"]
    ]
    head = [
        f"{kind}, at B = {COMPARED}:",
        *(f"{word}, {_threads(threads)}" for word, threads in ways),
        "MiB",
        *(f"B = {size}, {_threads(threads)}" for size, threads in large),
    ]

    def median(size: str, word: str, threads: str, name: str) -> float:
        # alone on its processor, a thread's own time is what others on the machine do not lengthen
        own = "process_" if kind == "cpu" and threads == "1" else ""
        return statistics.median(sizes[size][word][threads][name][f"{own}milliseconds"])

    def row(name: str) -> Iterator[str]:
        for word, threads in ways:
            took = median(str(COMPARED), word, threads, name)
            share = 100 * took / alone[word, threads]
            yield f"{_digits(took)} ms, {_digits(share)} %"
        yield _digits(first[name]["peak_mebibytes"])
        yield from (f"{_digits(median(s, 'exact', t, name))} ms" for s, t in large)

    alone = {way: sum(median(str(COMPARED), *way, name) for name in NETWORKS) for way in ways}
    first = compared[ways[0][0]][ways[0][1]]
    names = sorted(set(first) - set(NETWORKS), key=lambda n: -median(str(COMPARED), *ways[0], n))
    steps = [f"{step:,.0f} ms" for step in alone.values()]
    rows = [["*the networks alone*", *steps, *[""] * (1 + len(large))]]
    rows += [[name, *row(name)] for name in names]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _threads(count: str) -> str:
    return f"{count} thread{'' if count == '1' else 's'}"


def _digits(number: float) -> str:
    """Two digits that count, or all before the point."""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
