"""What room a cache takes: prints the table of docs/cached_teacher.md.

python benchmarks/cache_sizes.py

Counted from what each network says of two images, as ``relatum cache --dry-run`` counts it; an
untrained one says as much.
"""

import torch

from relatum.cache import in_words, sizes
from relatum.data import Batches, Resident
from relatum.discovery import find_taps
from relatum.models import create
from relatum.taps import Tapped
from relatum.teachers import Teacher

SAMPLES, CLASSES = 50_000, 100
TEACHERS = ("resnet32x4", "wrn-40-2", "resnet56", "resnet110", "vgg13", "resnet50-cifar")
TAPS = ("output", "embedding", "maps", "stages")


def table() -> str:
    """Each teacher's taps on CIFAR-100, for one view."""
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(SAMPLES, -1, -1, -1)
    batches = Batches(Resident(images), 64)
    lines = [f"| teacher | {' | '.join(f'`{tap}`' for tap in TAPS)} |", "|---|---|---|---|---|"]
    for name in TEACHERS:
        network = create(name, channels=3, size=32, classes=CLASSES).eval()
        taps = find_taps(network, torch.zeros(2, 3, 32, 32))
        teacher = Teacher(network, Tapped(network, taps).only(set(TAPS)).taps)
        found = sizes(teacher, batches, TAPS, torch.float32)
        lines.append(f"| {name} | {' | '.join(in_words(found[tap]) for tap in TAPS)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
