"""The names that exist and a line about each, read from a file, so that nobody waits for torch.

``names.json`` is written by ``python docs/make_methods.py`` from the code itself, and a test holds
the two equal.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("names.json")
SETS = {
    "digits": "scikit-learn's 1,797 digits of 8 by 8 pixels, embedded",
    "mnist": "60,000 + 10,000 digits of 28 by 28 pixels",
    "fashion-mnist": "60,000 + 10,000 pieces of clothing, likewise",
    "cifar10": "50,000 + 10,000 colour images of 32 by 32 pixels, 10 classes",
    "cifar100": "the same with 100 classes",
    "stl10": "5,000 + 8,000 photographs of 10 classes, at 32 pixels or image_size",
    "tiny-imagenet": "100,000 + 10,000 photographs of 200 classes, at 32 pixels or image_size",
}
"""The image sets, and what they hold."""
EXPORTS = {
    "safetensors": "the bare weights, which say what they are",
    "onnx": "for other runtimes; pip install relatum[onnx]",
    "pt2": "torch.export's own, which runs without the network's code",
    "timm": "a folder that timm loads, for students that are timm's",
}
"""What a trained student is exported to."""


@cache
def known() -> dict[str, dict[str, Any]]:
    """What the file says of ``methods``, ``models``, ``pairs`` and ``recipes``, by their names."""
    found: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
