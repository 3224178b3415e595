"""How large should batches of evaluation be? Images a second by the size of a batch.

    python benchmarks/evaluation_batches.py [--repeats 5]

Networks at rest in float32, random pixels, every size in turn; seconds of the process on a CPU
(what else runs lengthens the clock), of the clock on a GPU; medians. ``fitting`` is the size that
relatum takes (``relatum.run.hearing``), ``same_bits`` whether the logits are those of one batch.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine
from torch import Tensor

from relatum.models import create
from relatum.run.hearing import LARGEST, fitting
from relatum.taps import Tapped

RESULT = Path(__file__).parent / "results" / "evaluation_batches.json"
NETWORKS = {
    "resnet8x4": (3, 32),
    "vgg8": (3, 32),
    "mobilenetv2": (3, 32),
    "wrn-16-2": (3, 32),
    "mnist-mlp-1200": (1, 28),
}
SIZES = (16, 64, 250, 1000)


def said(tapped: Tapped, images: Tensor, size: int) -> Tensor:
    """The logits, by batches of a size."""
    return torch.cat([tapped(part).output for part in images.split(size)])


def measured(name: str, repeats: int, device: torch.device) -> dict[str, Any]:
    """One network at all sizes."""
    channels, pixels = NETWORKS[name]
    torch.manual_seed(0)
    network = create(name, channels=channels, size=pixels, classes=100)
    tapped = Tapped(network, {}).to(device).eval()
    images = torch.rand(LARGEST, channels, pixels, pixels, device=device)
    own = fitting(tapped, (channels, pixels, pixels))
    times: dict[int, list[float]] = {size: [] for size in sorted({*SIZES, own})}
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    with torch.no_grad():
        whole = said(tapped, images, LARGEST)
        same = torch.equal(said(tapped, images, own), whole)
        for _ in range(repeats):
            for size, spent in times.items():
                began = clock()
                said(tapped, images, size)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                spent.append(clock() - began)
    seconds = {size: statistics.median(spent) for size, spent in times.items()}
    return {
        "fitting": own,
        "same_bits": same,
        "images_a_second": {size: round(LARGEST / each) for size, each in seconds.items()},
        "gained": round(seconds[LARGEST] / seconds[own], 2),
    }


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    found: dict[str, Any] = {}
    for name in NETWORKS:
        found[name] = measured(name, asked.repeats, device)
        print(name, json.dumps(found[name]))
    result = {"machine": machine(), "device": str(device), "networks": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
