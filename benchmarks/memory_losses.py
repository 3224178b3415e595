"""What does CRD cost with its two banks, and what does it cost written straight from the paper?

    python benchmarks/memory_losses.py

Both forms at CIFAR-100's size: batches of 64, 16,384 negatives each, banks of 50,000 rows of 128
numbers, float32 on the CPU. The straightforward form gathers every candidate's row from both banks
(64 × 16,385 × 128 numbers each) and lets autograd do the rest, as the authors' code does. A step is
heads, loss, backward pass and update of the banks, with indices that are given; the two forms take
turns, so that whatever else the machine does hits both, and medians are compared. Peak memory is
what a step adds to a process of its own. In float64 and from the same state both must give the
same losses, gradients and banks, on batches of 8, else nothing is measured. How long it takes to
draw the negatives is measured apart. RRD, whose queue needs no indices, is beside it, with as many
rows as there are negatives.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine, memory
from torch import Tensor, nn

from relatum.losses import CRD, RRD
from relatum.memory import draw

RESULT = Path(__file__).parent / "results" / "memory_losses.json"
BATCH, NEGATIVES, SAMPLES, CLASSES = 64, 16384, 50_000, 100
STUDENT, TEACHER = 64, 256
"""Widths of the embeddings, as of resnet8x4 and resnet32x4, or so."""
OURS, PLAIN, QUEUE = "relatum's CRD", "straightforward CRD", "relatum's RRD"
TOLERANCE = 1e-11
MIB = 2**20


def main() -> int:
    """Check, measure, print and write down."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    apart = furthest()
    if not max(apart.values()) <= TOLERANCE:
        print(f"the two forms differ: {apart}", file=sys.stderr)
        return 1
    result = {
        "batch": BATCH,
        "negatives": NEGATIVES,
        "samples": SAMPLES,
        "apart_at_most": apart,
        "float32_loss_off_by": {name: rounding(name) for name in (OURS, PLAIN)},
        **take_turns({name: Step(name) for name in LOSSES}, asked.repeats),
        "peak_mebibytes": {name: peak(name, asked.threads) for name in LOSSES},
        "to_draw": take_turns(drawing(), asked.repeats),
        "machine": machine(),
    }
    print(_words(result))
    if not asked.no_write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, help="steps of each (default: 9)")
    parser.add_argument("--threads", type=int, default=1, help="for all (default: 1)")
    parser.add_argument("--no-write", action="store_true", help=f"leave {RESULT.name} as it is")
    return parser.parse_args()


class Straightforward(CRD):
    """The same loss, parameters and state, as one writes it down from the paper."""

    def forward(self, student: Tensor, teacher: Tensor, indices: Tensor) -> Tensor:
        """Embeddings of both networks, and indices with the negatives behind their own."""
        student_BD = F.normalize(self.student_head(student))
        teacher_BD = F.normalize(self.teacher_head(teacher))
        loss = self._nce(student_BD, self.teacher_memory, self.student_normaliser, indices)
        loss = loss + self._nce(teacher_BD, self.student_memory, self.teacher_normaliser, indices)
        self.fixed.fill_(True)
        with torch.no_grad():
            own = indices[:, 0]
            for bank, rows in (
                (self.student_memory, student_BD),
                (self.teacher_memory, teacher_BD),
            ):
                moved = self.momentum * bank[own] + (1 - self.momentum) * rows
                bank[own] = F.normalize(moved)
        return loss

    def _nce(self, rows: Tensor, bank: Tensor, normaliser: Tensor, indices: Tensor) -> Tensor:
        batch, candidates = indices.shape
        gathered = bank.index_select(0, indices.flatten()).view(batch, candidates, -1)
        scores = torch.bmm(gathered, rows.unsqueeze(2)).squeeze(2)
        ratios = torch.exp(scores / self.temperature)
        if not self.fixed:
            normaliser.copy_(ratios.detach().mean() * self.num_samples)
        ratios = ratios / normaliser
        noise = self.negatives / self.num_samples
        own = torch.log(ratios[:, 0] / (ratios[:, 0] + noise + 1e-7))
        others = torch.log(noise / (ratios[:, 1:] + noise + 1e-7))
        return -(own.sum() + others.sum()) / batch


def _crd(kind: type[CRD]) -> CRD:
    torch.manual_seed(0)
    return kind(STUDENT, TEACHER, SAMPLES, negatives=NEGATIVES)


def _rrd() -> RRD:
    torch.manual_seed(0)
    return RRD(STUDENT, TEACHER, queue_size=NEGATIVES)


LOSSES: dict[str, Callable[[], nn.Module]] = {
    OURS: lambda: _crd(CRD),
    PLAIN: lambda: _crd(Straightforward),
    QUEUE: _rrd,
}


class Step:
    """A loss, and what it is fed: one step whenever it is called.

    Args:
        name: which one.
        batch: samples a step.
        dtype: of all of it; the numbers are the same.
    """

    def __init__(self, name: str, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> None:
        self.loss = LOSSES[name]().to(dtype)
        generator = torch.Generator().manual_seed(1)
        self.student = torch.randn(batch, STUDENT, generator=generator).to(dtype).requires_grad_()
        self.inputs = {"teacher": torch.randn(batch, TEACHER, generator=generator).to(dtype)}
        if isinstance(self.loss, CRD):
            own = torch.randperm(SAMPLES, generator=generator)[:batch]
            drawn = draw(own, NEGATIVES, torch.tensor(0), SAMPLES)
            self.inputs["indices"] = torch.cat([own[:, None], drawn], dim=1)

    def __call__(self) -> float:
        """Heads, loss, backward pass, update of the memory; gives the loss."""
        self.loss.zero_grad()
        self.student.grad = None
        value: Tensor = self.loss(self.student, **self.inputs)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def found(self) -> dict[str, Tensor]:
        """What came of the last step, the loss itself apart."""
        assert self.student.grad is not None
        grads = {f"gradient of {n}": p.grad for n, p in self.loss.named_parameters()}
        buffers = dict(self.loss.named_buffers())
        return {"gradient": self.student.grad, **grads, **buffers}  # type: ignore[dict-item]


def furthest() -> dict[str, float]:
    """How far the two forms are apart over two steps, each as a share of its largest entry."""
    one, other = (Step(name, batch=8, dtype=torch.float64) for name in (OURS, PLAIN))
    apart = {f"loss of step {number}": abs(1 - one() / other()) for number in range(2)}
    wanted = other.found()
    for name, value in one.found().items():
        if value.is_floating_point():
            apart[name] = float((value - wanted[name]).abs().max() / wanted[name].abs().max())
    return apart


def rounding(name: str) -> float:
    """By what share of itself the loss in float32 misses that in float64."""
    return abs(1 - Step(name)() / Step(OURS, dtype=torch.float64)())


def take_turns(
    ways: dict[str, Callable[[], object]], repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each way, so many times, after one that does not count.

    By the clock, and of this process alone, which leaves out what others took from it on a
    busy machine.
    """
    clock: dict[str, list[float]] = {name: [] for name in ways}
    alone: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            began, spent = time.perf_counter(), time.process_time()
            way()
            if turn:
                clock[name].append((time.perf_counter() - began) * 1e3)
                alone[name].append((time.process_time() - spent) * 1e3)
    return {"milliseconds": clock, "process_milliseconds": alone}


def drawing() -> dict[str, Callable[[], object]]:
    """Ways to choose every sample's negatives among other classes, none of them twice."""
    labels = torch.arange(SAMPLES) % CLASSES
    own = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(2))[:BATCH]
    others = [np.flatnonzero(labels.numpy() != each) for each in range(CLASSES)]
    classes = labels[own].tolist()
    return {
        "relatum's, all at once": lambda: draw(own, NEGATIVES, torch.tensor(0), labels),
        "numpy.random.choice, a sample at a time": lambda: [
            np.random.choice(others[each], NEGATIVES, replace=False) for each in classes
        ],
    }


def peak(name: str, threads: int) -> float:
    """Mebibytes that a step adds to a process of its own, at its fullest."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, threads))


def _peak(name: str, threads: int) -> float:
    torch.set_num_threads(threads)
    step, first = Step(name), Step(name, batch=2)
    first()  # libraries are loaded, and their own buffers made
    del first
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    step()
    return memory("VmHWM") - before


def _words(result: dict[str, Any]) -> str:
    peaks, alone = result["peak_mebibytes"], _medians(result["process_milliseconds"])
    lines = [
        f"{BATCH} samples, {NEGATIVES:,} negatives each, banks of {SAMPLES:,} rows",
        "",
        "| a step | median ms | fastest | slowest | of the process | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in result["milliseconds"].items():
        times = (statistics.median(each), min(each), max(each), alone[name], peaks[name])
        lines.append(f"| {name} | {' | '.join(f'{time:.0f}' for time in times)} |")
    medians = _medians(result["milliseconds"])
    lines += [
        "",
        f"faster by the clock: {medians[PLAIN] / medians[OURS]:.1f} times",
        f"faster of the process alone: {alone[PLAIN] / alone[OURS]:.1f} times",
        f"less memory: {peaks[PLAIN] / peaks[OURS]:.1f} times",
        f"apart in float64: {max(result['apart_at_most'].values()):.0e} of the largest entry",
    ]
    for name, off in result["float32_loss_off_by"].items():
        lines.append(f"loss in float32, {name}: off by {off:.0e} of itself")
    clock, alone = (_medians(each) for each in result["to_draw"].values())
    for name, taken in clock.items():
        of = f"{taken:.0f} ms, of the process {alone[name]:.0f}"
        lines.append(f"to draw the negatives, {name}: {of}")
    return "\n".join(lines)


def _medians(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
