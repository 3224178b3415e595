"""What share of a training is its evaluation, which always runs in float32?

    python benchmarks/evaluation_share.py [--pair resnet32x4,resnet8x4] [--repeats 5]

By the CIFAR-100 protocol (50,000 and 10,000 images of 32 by 32, batches of 64, 240 epochs), with
random pixels, which take as long: seconds of a step of ``kd`` and of an image seen by each network,
both measured here, in turns, at every speed; medians. From these, and the counts of passes that
``tests/run/test_hearing.py`` holds, what share of the run is measured

- in the end: the student and the teacher see the test images once;
- after every epoch with ``validation=0.1``: the student sees 5,000 images, the teacher once in all;
- after every epoch with ``watch_test``: the student sees the test images.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import machine

from relatum.data import Batches, Resident
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, CrossEntropy
from relatum.models import create
from relatum.objective import Objective, Term
from relatum.run.hearing import listen
from relatum.schedules import constant
from relatum.speed import Word, settle, speed
from relatum.taps import Tapped
from relatum.teachers import Teacher

RESULT = Path(__file__).parent / "results" / "evaluation_share.json"
TRAIN, TEST, VALIDATION, BATCH, EPOCHS, CLASSES = 50_000, 10_000, 5_000, 64, 240, 100
STEPS = 1
"""In a block, as many as batches of images that are evaluated in one."""


def images(count: int, device: torch.device) -> Resident:
    """Random ones, with labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return Resident(pixels.to(torch.uint8), labels).to(device)


def blocks(pair: list[str], word: Word, device: torch.device) -> dict[str, Callable[[], object]]:
    """What is timed at a speed: steps of training, and passes of both networks."""
    pace = speed(word, device)
    settle(word, device)
    teacher, student = (create(each, channels=3, size=32, classes=CLASSES) for each in pair)
    assert isinstance(teacher.taps, dict)
    assert isinstance(student.taps, dict)
    taught = Teacher(teacher, teacher.taps).to(device)
    tapped = Tapped(student, student.taps).to(device)
    data = images(STEPS * BATCH, device)
    teaching = taught
    if pace.quick:
        tapped.channels_last()
        some = data.float(slice(0, 2))
        teaching = taught.quick(some, pace.precision, compiled=pace.compiled)
    terms = {"ce": Term(CrossEntropy(), weight=0.1), "kd": Term(KD(), weight=0.9)}
    distiller = Distiller(tapped, teaching, Objective(**terms))
    if pace.compiled:
        distiller.learner.compile_student()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9)
    batches = Batches(data, BATCH, shuffle=True, drop_last=True)

    def train() -> None:
        for _ in fit(distiller, batches, optimizer, constant(), 1, precision=pace.precision):
            pass

    return {
        "training": train,
        "student": lambda: listen(tapped, data, ("output",)),
        "teacher": lambda: listen(taught.tapped, data, ("output",)),
    }


def seconds(block: Callable[[], object], device: torch.device) -> float:
    """Of the clock, until the device is done."""
    began = time.perf_counter()
    block()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def shares(step: float, student: float, teacher: float) -> dict[str, float]:
    """Of a whole run, in percent: seconds of a step, and of an image seen by each network."""
    whole = EPOCHS * (TRAIN // BATCH) * step
    cut = EPOCHS * ((TRAIN - VALIDATION) // BATCH) * step
    end = TEST * (student + teacher)
    validation = VALIDATION * (EPOCHS * student + teacher)
    found = {
        "end": end / (whole + end),
        "validation": (validation + end) / (cut + validation + end),
        "watch_test": (EPOCHS * TEST * student + end) / (whole + EPOCHS * TEST * student + end),
    }
    return {name: round(100 * share, 3) for name, share in found.items()}


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pair", default="resnet32x4,resnet8x4", help="TEACHER,STUDENT")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--speeds", default="exact,fast")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device, pair = torch.device(asked.device), asked.pair.split(",")
    runs = {word: blocks(pair, word, device) for word in asked.speeds.split(",")}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(asked.repeats + 1):
        for word, parts in runs.items():
            for name, block in parts.items():
                spent = seconds(block, device)
                if turn:  # the first compiles, and finds its algorithms
                    times.setdefault((word, name), []).append(spent)
    found = {}
    for word in runs:
        step = statistics.median(times[word, "training"]) / STEPS
        each = {
            name: statistics.median(times[word, name]) / STEPS / BATCH
            for name in ("student", "teacher")
        }
        found[word] = {
            "milliseconds_step": round(1e3 * step, 3),
            **{f"milliseconds_image_{name}": round(1e3 * value, 4) for name, value in each.items()},
            "percent_of_a_run": shares(step, each["student"], each["teacher"]),
        }
        print(word, json.dumps(found[word]))
    result = {"machine": machine(), "device": str(device), "pair": pair, "speeds": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
