"""How quickly images are streamed into a consumer that does nothing, beside decoding alone.

Run as ``python benchmarks/streaming.py --data FOLDER``: a folder of photographs. Each way decodes
the same files by the same calls, with as many threads (or processes) as there are processors, and
they take turns, round after round, each as often first as the others, so that whatever else the
machine does meets all of them:

- decoding alone: threads that decode, and throw away what they get;
- streamed: ``Batches`` of a streamed set, collated, in another order every epoch;
- streamed, augmented: the same with random-resized crops and flips;
- torch's DataLoader, with threads' number of worker processes, which collate and send.

What is told is images a second, the best of all rounds (what the machine can do when it is left
alone) and the median, and the processor's milliseconds an image, which others' work does not touch
(of a DataLoader they are those of its own process alone, and so are left out).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch.utils.data import DataLoader, Dataset

from relatum.data import Batches, Stored, augmentations
from relatum.data.stored import processors
from relatum.datasets import load

BATCH = 64
ALONE, LOADER = "decoding alone", "torch's DataLoader"


class Decoded(Dataset[torch.Tensor]):
    """A streamed set as torch's DataLoader wants it."""

    def __init__(self, data: Stored) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.data.decode(int(self.data.rows[place]))


def alone(data: Stored, threads: int) -> int:
    """Decode everything, and keep nothing."""

    def one(row: int) -> None:
        data.decode(row)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, data.rows.tolist()):
            pass
    return len(data)


def consumed(batches: Iterable[Any]) -> int:
    """A consumer that does nothing."""
    return sum(len(each) for each in batches)


def ways(data: Stored, threads: int) -> dict[str, Callable[[int], int]]:
    """What is compared, each a function of the round."""
    plain = Batches(data, BATCH, shuffle=True)
    augmented = Batches(data, BATCH, shuffle=True, augment=augmentations(("rrc", "flip")))
    loader = DataLoader(Decoded(data), BATCH, shuffle=True, num_workers=threads)
    return {
        ALONE: lambda number: alone(data, threads),
        "streamed": lambda number: consumed(plain.epoch(number)),
        "streamed, augmented": lambda number: consumed(augmented.epoch(number)),
        LOADER: lambda number: consumed(loader),
    }


def take_turns(every: Mapping[str, Callable[[int], int]], rounds: int) -> dict[str, Any]:
    """Images a second of each way, round after round, and processor time an image."""
    rates: dict[str, list[float]] = {name: [] for name in every}
    spent: dict[str, list[float]] = {name: [] for name in every}
    order = list(every)
    for number in range(rounds + 1):
        for place in range(len(order)):  # each comes first as often as the others
            name = order[(place + number) % len(order)]
            way = every[name]
            began, used = time.perf_counter(), time.process_time()
            images = way(number)
            if number:  # the first round reads the files into memory
                rates[name].append(images / (time.perf_counter() - began))
                spent[name].append(1000 * (time.process_time() - used) / images)
    best, costs = max(rates[ALONE]), statistics.median(spent[ALONE])
    return {
        name: {
            "images_a_second": round(max(rates[name]), 1),
            "median": round(statistics.median(rates[name]), 1),
            "share_of_decoding_alone": round(max(rates[name]) / best, 3),
            "median_share": round(
                statistics.median(
                    one / other for one, other in zip(rates[name], rates[ALONE], strict=True)
                ),
                3,
            ),
        }
        | (
            {}
            if name == LOADER
            else {
                "processor_milliseconds_an_image": round(statistics.median(spent[name]), 3),
                "processor_share": round(costs / statistics.median(spent[name]), 3),
            }
        )
        for name in every
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--sizes", default="64,224", help="pixels a side")
    parser.add_argument("--images", type=int, default=600, help="how many are decoded a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="the file that is written")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    threads = processors()
    results: dict[str, Any] = {
        "machine": machine(),
        "threads": threads,
        "batch": BATCH,
        "rounds": asked.rounds,
        "sizes": {},
    }
    for size in map(int, asked.sizes.split(",")):
        data = load(asked.data, image_size=size, memory="streamed").train
        assert isinstance(data, Stored)
        data = data.take(torch.arange(min(asked.images, len(data))))
        results["images"] = len(data)
        results["sizes"][str(size)] = found = take_turns(ways(data, threads), asked.rounds)
        print(f"{len(data)} images at {size} pixels, {threads} threads, batches of {BATCH}")
        for name, each in found.items():
            listed = ", ".join(f"{what} {value}" for what, value in islice(each.items(), 6))
            print(f"  {name:20} {listed}", flush=True)
    results["machine"]["load_average_at_the_end"] = machine()["load_average"]
    if asked.out:
        asked.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
