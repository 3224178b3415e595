"""The bare weights as safetensors, which say of themselves what they are."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from relatum.export.graph import Graph, Runs
from relatum.types import Fault
from relatum.weights import save_weights

NAME = "student.safetensors"


def save(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Write the parameters and buffers of the bare network.

    Raises:
        Fault: something else was asked for than the network as it is.
    """
    refuse_computation(graph, "safetensors")
    save_weights(graph.source.tapped.network, path, about)


def opened(graph: Graph, path: Path) -> Runs:
    """The network with the weights in the file."""
    network, state = graph.source.tapped.network, load_file(path)

    def runs(images: Tensor) -> tuple[Tensor, ...]:
        given: Tensor = torch.func.functional_call(network, state, (images,))
        return (given,)

    return runs


def refuse_computation(graph: Graph, name: str) -> None:
    """Refuse what only a file with a computation can hold.

    Raises:
        Fault: it was asked for.
    """
    asked = {
        f"--input {graph.entering}": graph.entering != "normalised",
        f"--output {graph.output}": graph.output not in ("auto", "logits"),
        "--batch": graph.batch is not None,
    }
    if wrong := [option for option, given in asked.items() if given]:
        raise Fault(
            f"{name} holds the weights of the whole network and no computation, so {wrong[0]} has"
            " no effect: leave it out, or export --to onnx or pt2"
        )
