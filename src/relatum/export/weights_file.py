"""The bare weights as safetensors, which say of themselves what they are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from relatum.export.graph import Graph, Runs
from relatum.weights import fingerprints_of, save_weights


def save(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Write the parameters and buffers of the bare network."""
    save_weights(graph.source.tapped.network, path, about)


def opened(graph: Graph, path: Path) -> Runs:
    """The network with the weights in the file."""
    network, state = graph.source.tapped.network, load_file(path)

    def runs(images: Tensor) -> tuple[Tensor, ...]:
        given: Tensor = torch.func.functional_call(network, state, (images,))
        return (given,)

    return runs


def of(path: Path) -> frozenset[str]:
    """The fingerprint of the weights in the file."""
    return fingerprints_of(path)


def unheld(graph: Graph) -> list[str]:
    """The options that were given and that only a file with a computation can hold."""
    asked = {
        f"--input {graph.entering}": graph.entering != "normalised",
        f"--output {graph.output}": graph.output not in ("auto", "logits"),
        "--resize": graph.resized,
        "--batch": graph.batch is not None,
    }
    return [option for option, given in asked.items() if given]
