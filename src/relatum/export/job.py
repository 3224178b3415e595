"""From a trained network to files that others run, each compared with the network itself."""

import os
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from relatum.export import onnx_file, weights_file
from relatum.export.check import compare, cut
from relatum.export.claim import BEFORE, FOLDER, claimed, clear, earlier, sha256_of
from relatum.export.formats import FORMATS
from relatum.export.graph import Graph
from relatum.export.manifest import Exported, Manifest
from relatum.export.source import Source
from relatum.run.lock import hold
from relatum.spelling import unknown
from relatum.types import Fault, Images, first_line
from relatum.weights import fingerprint

SHOWN = 64
"""Images on which a file is compared."""


def export(
    graph: Graph,
    to: Sequence[str],
    folder: Path,
    *,
    count: int = SHOWN,
    images: Images | None = None,
) -> Manifest:
    """Write a network in some formats, and keep each file only if it says what the network says.

    Beside them goes ``export.json`` with size, normalisation, classes and what was compared. What
    can be refused is refused before the first file. What a graph asks of its input and its outputs
    has no effect on the formats that hold the weights alone.

    Args:
        graph: the network, what enters it and what leaves.
        to: names of ``FORMATS``.
        folder: where to; made if need be. Files that an earlier export wrote there are replaced.
        count: how many test images to compare on.
        images: others to compare on, in [0, 1].

    Raises:
        Fault: a format is unknown, cannot hold this network, or gives something else than it; the
            folder holds such files of somebody else's, or of another student; or another process
            writes there.
    """
    _check(graph, to)
    with hold(folder):
        clear(folder)
        digest = fingerprint(graph.source.tapped.network)
        before = claimed(graph.source, folder, to, digest)
        taken, said = graph.source.images(count) if images is None else (images, "images given")
        manifest = _manifest(graph.source, folder, before, digest)
        if any(not FORMATS[name].bare for name in to):
            list(cut(len(taken), graph.batch))  # refuses too few
        files = dict(manifest.files)
        for name in to:
            file = FORMATS[name].file
            files[file] = _write(name, graph, folder, taken, said)
            stale = {name: kept for name, kept in manifest.earlier.items() if name != file}
            manifest = manifest.model_copy(update={"files": files, "earlier": stale})
            manifest.save(folder)
    return manifest


def _check(graph: Graph, to: Sequence[str]) -> None:
    """Refuse what is known to fail before anything is written."""
    if not to:
        raise Fault(f"no format was asked for: --to {', '.join(FORMATS)}")
    for name in to:
        if name not in FORMATS:
            raise Fault(f"{unknown('format', name, FORMATS)} (there are {', '.join(FORMATS)})")
    if any(not FORMATS[name].bare for name in to):
        graph.leaving  # noqa: B018 - refuses what the network cannot give
    elif wrong := weights_file.unheld(graph):
        raise Fault(
            f"{to[0]} holds the weights of the whole network and no computation, so {wrong[0]} has"
            " no effect: leave it out, or export --to onnx or pt2"
        )
    for name in to:
        FORMATS[name].check(graph)


def _manifest(source: Source, folder: Path, before: Manifest | None, digest: str) -> Manifest:
    """With the files of earlier, if they are of the same weights."""
    same = before is not None and before.weights_sha256 == digest
    return Manifest(
        relatum=version("relatum"),
        torch=version("torch"),
        model=public_method(source.name),
        weights_sha256=digest,
        size=source.shape,
        mean=source.tapped.input.mean,
        std=source.tapped.input.std,
        classes=source.classes,
        files=before.files if before is not None and same else {},
        earlier=earlier(before, folder, digest),
    )


def about(graph: Graph) -> dict[str, str]:
    """What a file says of itself, without the places of this machine."""
    source = graph.source
    channels, height, width = source.shape
    dataset = source.about.get("dataset", "")
    return {
        **source.about,
        **{name: str(value) for name, value in source.made.items()},
        "model": public_method(source.name),
        "channels": str(channels),
        "height": str(height),
        "width": str(width),
        "mean": " ".join(map(str, source.tapped.input.mean)),
        "std": " ".join(map(str, source.tapped.input.std)),
        "dataset": public(dataset),
        "input": graph.entering,
        "preparation": preparation(graph),
        "outputs": " ".join(graph.leaving),
        "weights_sha256": fingerprint(source.tapped.network),
    }


def public(dataset: str) -> str:
    """The name of a set; of one that lies in files its own name, and not where it lies.

    Example:
        >>> public("cifar100"), public("folder:/home/me/birds"), public("birds/")
        ('cifar100', 'folder:birds', 'birds')
    """
    kind, colon, place = dataset.partition(":")
    if kind == "hf" and not Path(place).exists():
        return dataset
    return f"{kind}:{Path(place).name}" if colon else Path(dataset).name


def public_method(text: str) -> str:
    """The name of a method or of a network; of somebody's own file, not where that lies.

    Example:
        >>> public_method("kd+/home/me/my losses/loss.py:Mine@maps=2"), public_method("timm/vit")
        ('kd+loss.py:Mine@maps=2', 'timm/vit')
    """
    return re.sub(r"[^+=@(),]*[/\\](?=[^+=@(),/\\]*\.py:)", "", text)


def _write(name: str, graph: Graph, folder: Path, images: Images, said: str) -> Exported:
    chosen = FORMATS[name]
    if chosen.bare:
        graph = Graph(graph.source, bare=True)
    staged = folder / f".{FOLDER}-{uuid4().hex[:8]}"
    path = staged / chosen.file
    try:
        staged.mkdir(parents=True)
        chosen.save(graph, path, about(graph))
        check = compare(graph, chosen.opened(graph, path), images, said)
        size = _place(path, folder / chosen.file, staged)
    except OSError as error:
        raise Fault(
            f"cannot write {folder / chosen.file}: {error.strerror or first_line(error)}"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    axes = graph.axes() if name in ("onnx", "pt2") else {0: "batch"}
    shape = tuple(graph.example.shape)
    return Exported(
        format=name,
        bytes=size,
        sha256=sha256_of(folder / chosen.file),
        input=graph.entering,
        input_shape=tuple(axes.get(axis, length) for axis, length in enumerate(shape)),
        outputs=tuple(graph.leaving),
        opset=onnx_file.OPSET if name == "onnx" else None,
        resized=_resized(graph) if graph.resized else None,
        preparation=preparation(graph),
        check=check,
    )


def _resized(graph: Graph) -> str:
    """How images of other sizes are brought to the network's."""
    height, width = graph.source.shape[1:]
    part = "the largest centred square" if height == width else "the whole image"
    return f"{part}, to {height} by {width}, bilinear with averaging"


def preparation(graph: Graph) -> str:
    """What is done to a picture before it enters, so that it is seen as in training."""
    channels = {1: "grey", 3: "red, green, blue"}.get(graph.source.shape[0], "channels")
    size = "any size" if graph.resized else _resized(graph)
    values = {
        "uint8": "bytes",
        "float": "float32, divided by 255",
        "normalised": "float32, divided by 255, less the mean, divided by the deviation",
    }[graph.entering]
    return f"turned as its EXIF says; {size}; {channels}, channels first; {values}"


def _place(path: Path, target: Path, staged: Path) -> int:
    """Put a file or folder in the place of an earlier one, and say how many bytes it has."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    for each in files:
        with each.open("rb+") as file:
            os.fsync(file.fileno())
    size = sum(each.stat().st_size for each in files)
    kept = staged / BEFORE / target.name
    if target.is_dir():
        kept.parent.mkdir()
        target.replace(kept)
    try:
        path.replace(target)
    except BaseException:
        if kept.exists():
            kept.replace(target)
        raise
    return size
