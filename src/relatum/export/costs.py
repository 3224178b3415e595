"""Measure what the networks of a run cost, and write it where the report finds it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from relatum import models
from relatum.cost_file import STUDENT, TEACHER, Costs, Measured
from relatum.evaluate import macs, parameters
from relatum.evaluate.latency import SECONDS, Given, Timing, latency
from relatum.export import onnx_file
from relatum.export.claim import FOLDER
from relatum.export.graph import IMAGES, as_bytes
from relatum.export.manifest import Manifest
from relatum.export.source import CPU, Source, source_of
from relatum.models.foreign import published
from relatum.record import Record
from relatum.run.trained import PRETRAINED, weights_of
from relatum.teacher_names import several, teachers_there
from relatum.types import Fault
from relatum.weights import fingerprint

Shape = tuple[int, int, int]


def measure(
    source: Source, exported: Path | None = None, *, seconds: float = SECONDS
) -> tuple[Measured, list[str]]:
    """Parameters, multiply-adds, size and latency of a student, its teacher and its ONNX file.

    On the CPU with as many threads as torch has here, and on the GPU where there is one.

    Args:
        source: the student.
        exported: a folder with an ``export.json``, whose ONNX file is timed as well.
        seconds: about, for each batch size on each device.

    Returns:
        What was measured, and in words what was not.
    """
    networks: dict[str, tuple[str, nn.Module, Shape, int | None]] = {}
    size = source.weights.stat().st_size if source.weights else None
    networks[STUDENT] = (source.name, source.tapped.network, source.shape, size)
    notes: list[str] = []
    if source.record is not None and source.record.recipe.teacher is not None:
        try:
            networks[TEACHER] = _teacher(source.record, source.shape)
        except Fault as fault:
            notes.append(f"the teacher was not measured: {fault}")
    shapes = {name: each[2] for name, each in networks.items()}
    others: dict[str, Given] = {}
    try:
        others = _onnx(source, exported)
    except Fault as fault:
        notes.append(f"{onnx_file.NAME} was not measured: {fault}")
    shapes |= dict.fromkeys(others, source.shape)
    timings = _timings({name: each[1] for name, each in networks.items()}, shapes, others, seconds)
    costs = {
        name: Costs(
            network=called,
            parameters=parameters(network),
            macs=macs(network, shape),
            bytes=weight,
            timings=timings[name],
        )
        for name, (called, network, shape, weight) in networks.items()
    }
    for name in others:
        assert exported is not None
        written = (exported / name).stat().st_size
        costs[name] = Costs(network=source.name, bytes=written, timings=timings[name])
        if not timings[name]:
            notes.append(f"{name} was not timed: it takes another number of images at a time")
    return Measured(networks=costs), notes


def measure_runs(
    runs: Iterable[tuple[Path, Record]], *, seconds: float = SECONDS
) -> tuple[list[Path], list[str]]:
    """Measure every student and teacher of some runs, each pair of architectures once.

    A run that was exported as ONNX is measured by itself, its file beside its networks.

    Returns:
        The folders that have a ``cost.json`` now, and what could not be measured.
    """
    found: dict[tuple[str, str, int, str], Measured] = {}
    told: dict[str, None] = {}
    done: list[Path] = []
    for path, record in runs:
        teacher = record.teacher.name if record.teacher else ""
        of_file = str(path) if (path / FOLDER / onnx_file.NAME).exists() else ""
        key = (record.recipe.student, teacher, record.macs, of_file)
        if key not in found:
            found[key], notes = measure(source_of(str(path)), path / FOLDER, seconds=seconds)
            told |= dict.fromkeys(notes)
        found[key].save(path)
        done.append(path)
    return done, list(told)


def _teacher(record: Record, shape: Shape) -> tuple[str, nn.Module, Shape, int | None]:
    """The teacher's name, network, input and file; its weights do not matter to its time."""
    text = record.recipe.teacher
    assert text is not None
    if several(text):
        alone = len(teachers_there(text)) == 1
        raise Fault("a table has no time" if alone else "several teachers have no time together")
    if text.endswith(PRETRAINED):
        name = text.removesuffix(PRETRAINED)
        classes, input = published(name)
        side = input.size[0] if input.size else shape[1]
        network = models.create(name, channels=shape[0], size=side, classes=classes)
        return name, network.eval(), (shape[0], side, side), None
    model, at, _ = text.partition("@")
    if at and models.is_own(model):
        raise Fault(f"the record names {text}, and a file may not say which code is run")
    source = source_of(text)
    weights = weights_of(text)
    size = weights.stat().st_size if weights else None
    return source.name, source.tapped.network, source.shape, size


def _onnx(source: Source, exported: Path | None) -> dict[str, Given]:
    """The student's ONNX file, where one was exported of these weights; at the student's size."""
    manifest = Manifest.load(exported) if exported is not None else None
    written = manifest.files.get(onnx_file.NAME) if manifest is not None else None
    if exported is None or manifest is None or written is None:
        return {}
    if manifest.weights_sha256 != fingerprint(source.tapped.network):
        return {}
    session = onnx_file.session(exported / onnx_file.NAME)
    of_bytes, fixed = written.input == "uint8", written.input_shape[0]

    def given(images: Tensor) -> Callable[[], object] | None:
        if isinstance(fixed, int) and fixed != len(images):
            return None
        entering = (as_bytes(images) if of_bytes else images).numpy()
        return lambda: session.run(None, {IMAGES: entering})

    return {onnx_file.NAME: given}


def _timings(
    networks: Mapping[str, nn.Module],
    shapes: Mapping[str, Shape],
    others: Mapping[str, Given],
    seconds: float,
) -> dict[str, tuple[Timing, ...]]:
    devices = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    found: dict[str, tuple[Timing, ...]] = {}
    for device in devices:
        taken = latency(networks, shapes, device, seconds=seconds, others=others)
        found = {**found, **{name: (*found.get(name, ()), *each) for name, each in taken.items()}}
    return found
