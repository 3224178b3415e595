"""ONNX, for other runtimes; compared by ONNX Runtime."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatum.export.graph import IMAGES, Graph, Runs
from relatum.types import Fault, first_line

NAME = "student.onnx"
OPSET = 18
"""The first whose Resize can average what it shrinks, and what torch's exporter is written for."""
LARGEST = 2**31
"""Bytes that a file of protocol buffers can hold."""


def check(graph: Graph) -> None:
    """Refuse before anything is written.

    Raises:
        Fault: onnx or its companions are not installed, the weights are more than one file can
            hold, or the network cannot be traced.
    """
    _installed()
    state = graph.source.tapped.network.state_dict().values()
    if sum(each.numel() * each.element_size() for each in state) >= LARGEST:
        raise Fault("an ONNX file holds no more than 2 GiB: export --to pt2 or safetensors")
    graph.program  # noqa: B018 - refuses what cannot be traced


def save(graph: Graph, path: Path, about: Mapping[str, str]) -> None:
    """Translate the traced network, and write it as one file, its weights inside.

    Raises:
        Fault: an operator has no translation.
    """
    program = graph.program
    try:
        with _quiet():
            made: Any = torch.onnx.export(
                program,
                (graph.example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[IMAGES],
                output_names=list(graph.leaving),
                dynamic_shapes=(graph.axes(),),
                verbose=False,
            )
            for node in made.model.graph.all_nodes():
                node.metadata_props.clear()  # where on this machine the code lies that made it
            made.model.metadata_props.update(about)
            made.save(path, external_data=False)
    except OSError:  # of the disk: who asked for the file says so
        raise
    except Exception as error:  # whatever the translation of an operator may raise
        raise Fault(
            f"{graph.source.name} cannot be written as ONNX ({first_line(error)}); --to pt2 may"
        ) from error


def opened(_: Graph, path: Path) -> Runs:
    """ONNX Runtime with the file, on the CPU."""
    ready = session(path)

    def runs(images: Tensor) -> tuple[Tensor, ...]:
        given = ready.run(None, {IMAGES: images.numpy()})
        return tuple(torch.from_numpy(each) for each in given)

    return runs


def of(path: Path) -> list[str]:
    """The fingerprint of the weights that the file says it is of."""
    import onnx

    held = onnx.load(path, load_external_data=False).metadata_props
    return [each.value for each in held if each.key == "weights_sha256"]


def session(path: Path) -> Any:
    """The file, ready to run on as many threads as torch has here.

    Raises:
        Fault: ONNX Runtime is not installed, or does not take it.
    """
    _installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which derive from nothing narrower
        raise Fault(f"ONNX Runtime does not take {path} ({first_line(error)})") from error


def _installed() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            raise Fault(f"--to onnx needs {name}: pip install relatum[onnx]")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells much that no user of this command can do anything about."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
