"""PyTorch's own format of a traced network, which runs without its code."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from relatum.export.graph import Graph, Runs

NAME = "student.pt2"
ABOUT = "relatum.json"
"""What the file says of itself: ``extra_files`` of ``torch.export.load``."""


def check(graph: Graph) -> None:
    """Refuse what cannot be traced, before anything is written."""
    graph.program  # noqa: B018 - refuses


def save(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Trace by ``torch.export`` and write."""
    program = graph.program
    held = io.BytesIO()  # torch's own writer ends the process where the disk is full
    torch.export.save(program, held, extra_files={ABOUT: json.dumps(dict(about), indent=1)})
    path.write_bytes(held.getbuffer())


def opened(_: Graph, path: Path) -> Runs:
    """The file's own computation."""
    network = torch.export.load(path).module()

    def runs(images: Tensor) -> tuple[Tensor, ...]:
        given = network(images)
        return given if isinstance(given, tuple) else (given,)

    return runs


def of(path: Path) -> list[str]:
    """The fingerprint of the weights that the file says it is of."""
    with zipfile.ZipFile(path) as held:
        told = [each for each in held.namelist() if each.endswith(f"/{ABOUT}")]
        return [json.loads(held.read(each))["weights_sha256"] for each in told]
