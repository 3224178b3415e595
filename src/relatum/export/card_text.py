"""Parts of a model card: code that loads the files, and what the numbers do not say."""

from itertools import takewhile
from pathlib import Path

from relatum.export.job import public_method
from relatum.export.manifest import Exported, Manifest
from relatum.export.source import Source
from relatum.record import Record
from relatum.report.words import counted
from relatum.types import Fault

NAME = "README.md"


def place(folder: Path) -> Path:
    """Where a card goes.

    Raises:
        Fault: there is a ``README.md`` that is no card of relatum's.
    """
    path = folder / NAME
    if not path.exists():
        return path
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    front = set(takewhile(lambda line: line != "---", lines[1:])) if lines[:1] == ["---"] else set()
    # the library of a student of timm's may be timm; the tag tells
    if not {"library_name: relatum", "- relatum"} & front:
        raise Fault(f"{path} is there and is no card that relatum wrote: choose another --out")
    return path


def how_to_use(source: Source, manifest: Manifest | None) -> str:
    """What enters, and code for every file; each runs as it stands, in the folder of the files."""
    channels, height, width = source.shape
    mean, std = source.tapped.input.mean, source.tapped.input.std
    files = manifest.files if manifest is not None else {}
    parts = [
        f"Images have {counted(channels, 'channel')} and {height} by {width} pixels, in [0, 1];"
        f" {_numbers(mean)} is subtracted, and what is left divided by {_numbers(std)}. Files"
        " whose `input` in `export.json` is `float` or `uint8` do both themselves."
    ]
    for name, file in files.items():
        if file.resized:
            parts.append(f"`{name}` takes images of any size, and resizes {file.resized}.")
    if "student.onnx" in files:
        parts.append(_code(_onnx(files["student.onnx"], source.shape)))
    if "student.pt2" in files:
        parts.append(_code(_pt2(files["student.pt2"], source.shape)))
    if "timm" in files:
        parts.append(
            _code(
                "import timm, torch\n\n"
                'network = timm.create_model("local-dir:timm", pretrained=True).eval()\n'
                f"logits = network(torch.zeros(1, {channels}, {height}, {width}))"
            )
        )
    if "student.safetensors" in files:
        parts.append(_code(_relatum(source)))
    return "\n\n".join(parts)


def _relatum(source: Source) -> str:
    channels, height, width = source.shape
    asked = ", ".join(f"{name}={value}" for name, value in source.made.items())
    return (
        "from pathlib import Path\n\nimport torch\n"
        "from relatum.models import create\nfrom relatum.weights import load_weights\n\n"
        f'network = create("{public_method(source.name)}", {asked}).eval()\n'
        'load_weights(network, Path("student.safetensors"))\n'
        f"output = network(torch.zeros(1, {channels}, {height}, {width}))  # normalised images"
    )


def _onnx(file: Exported, shape: tuple[int, int, int]) -> str:
    return (
        "import numpy\nimport onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("student.onnx")\n'
        f"images = numpy.zeros({_shape(file, shape)}, numpy.{_kind(file)})\n"
        f"{', '.join(file.outputs)}{',' if len(file.outputs) == 1 else ''} ="
        ' session.run(None, {"images": images})'
    )


def _pt2(file: Exported, shape: tuple[int, int, int]) -> str:
    return (
        "import torch\n\n"
        'network = torch.export.load("student.pt2").module()\n'
        f"images = torch.zeros({_shape(file, shape)}, dtype=torch.{_kind(file)})\n"
        f"{', '.join(file.outputs)} = network(images)"
    )


def _shape(file: Exported, shape: tuple[int, int, int]) -> str:
    batch = file.input_shape[0] if isinstance(file.input_shape[0], int) else 1
    return str((batch, *shape))


def _kind(file: Exported) -> str:
    return "uint8" if file.input == "uint8" else "float32"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(map(str, values))


def limits(record: Record) -> str:
    """What was not looked at, and what a student takes over from its teacher."""
    unknown = "of other things"
    if {"top1", "agreement"} & set(record.metrics):  # its classifier was taught
        unknown = "of classes that it does not know, for which it names one of its own all the same"
    told = [
        "It was measured on images like those it was trained on, and on no others: not on images of"
        f" other cameras, on disturbed images, or on images {unknown}.",
    ]
    if record.teacher is not None:
        told.append(
            "A student takes over its teacher's mistakes and preferences; they were not looked for."
        )
    if not record.recipe.labels:
        told.append("No labels were used, so nothing but the teacher says what images are alike.")
    if record.recipe.scale < 1:
        told.append(
            f"It was trained for {100 * record.recipe.scale:.3g} % of its protocol's epochs."
        )
    if record.altered:
        told.append(f"Its training was altered: {record.altered}.")
    told.append(
        "Calibration, fairness between groups of people and resistance to attacks were not"
        " measured."
    )
    return "\n".join(f"- {each}" for each in told)
