"""A folder that timm loads: ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relatum.export.graph import Graph, Runs
from relatum.types import Fault
from relatum.weights import fingerprints_of

NAME = "timm"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_PREFIX = "timm/"
_OTHERS = ("tag", "license", "origin_url", "paper_name", "paper_ids", "notes", "description")
_NAMED = 1000
"""Classes whose names are written; more are left to who made the set."""


def check(graph: Graph) -> None:
    """Refuse before anything is written.

    Raises:
        Fault: the network is none of timm's, or timm is not installed.
    """
    source = graph.source
    if not source.name.startswith(_PREFIX):
        raise Fault(
            f"--to timm is for networks of timm's, and this is {source.name}; export --to"
            " safetensors, onnx or pt2"
        )
    if find_spec("timm") is None:
        raise Fault("--to timm needs timm: pip install relatum[timm]")


def save(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Write weights and configuration as timm's hub has them."""
    from timm.models import save_for_hf

    source = graph.source
    network: Any = source.tapped.network
    mean, std = source.tapped.input.mean, source.tapped.input.std
    channels = source.shape[0]
    config: dict[str, Any] = {
        "pretrained_cfg": {
            "input_size": list(source.shape),
            "mean": list(mean if len(mean) == channels else mean * channels),
            "std": list(std if len(std) == channels else std * channels),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
        }
    }
    if source.classes and len(source.classes) <= _NAMED:
        config["label_names"] = list(source.classes)
    save_for_hf(network, str(path), model_config=config, safe_serialization=True)
    _disown(path / CONFIG)


def _disown(path: Path) -> None:
    """Take out what timm knows of its own weights of this architecture: these are others."""
    config = json.loads(path.read_text())
    for name in _OTHERS:
        config["pretrained_cfg"].pop(name, None)
    path.write_text(json.dumps(config, indent=2))


def of(path: Path) -> frozenset[str]:
    """The fingerprint of the weights in the folder."""
    return fingerprints_of(path / WEIGHTS)


def opened(_: Graph, path: Path) -> Runs:
    """The network that timm makes of the folder."""
    import timm

    network = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    return lambda images: (network(images),)
