"""Code for a model card: from a photograph to what each file says of it, as it stands."""

from collections.abc import Sequence

from relatum.export.job import public_method
from relatum.export.manifest import Exported, Manifest
from relatum.export.source import Source
from relatum.record import WEIGHTS
from relatum.report.words import counted

OPENED = (
    'image = Image.new("{mode}", (640, 480))  # yours: Image.open("photo.jpg")',
    'image = ImageOps.exif_transpose(image).convert("{mode}")  # as the camera was held',
)


def how_to_use(source: Source, manifest: Manifest | None) -> str:
    """What enters, and code for every file; each runs as it stands, in the folder of the files."""
    channels, height, width = source.shape
    mean, std = source.tapped.input.mean, source.tapped.input.std
    files = manifest.files if manifest is not None else {}
    colours = {1: " (grey)", 3: " (red, green, blue)"}.get(channels, "")
    parts = [
        f"Images have {counted(channels, 'channel')}{colours} and {height} by {width} pixels, in"
        f" [0, 1]; {_numbers(mean)} is subtracted, and what is left divided by {_numbers(std)}."
        " Files whose `input` in `export.json` is `float` or `uint8` do both themselves."
    ]
    for name, file in files.items():
        if file.resized:
            parts.append(f"`{name}` takes images of any size, and resizes {file.resized}.")
    if "student.onnx" in files:
        code = _onnx(files["student.onnx"], source)
        parts += ["By ONNX Runtime, without PyTorch:", _code(code)]
    if "student.pt2" in files:
        code = _pt2(files["student.pt2"], source)
        parts += ["By PyTorch, without the network's code:", _code(code)]
    if "timm" in files and source.taught != "nothing":
        parts += ["By timm:", _code(_timm(source))]
    if WEIGHTS in files:
        parts += ["By relatum:", _code(_relatum(source))]
    return "\n\n".join(parts)


def _onnx(file: Exported, source: Source) -> str:
    return _lines(
        *(["import json", ""] if _names(file, source) else []),
        *("import numpy", "import onnxruntime", "from PIL import Image, ImageOps", ""),
        *_photograph(file, source),
        "",
        'session = onnxruntime.InferenceSession("student.onnx")',
        f"{', '.join(file.outputs)}{',' * (len(file.outputs) == 1)} ="
        ' session.run(None, {"images": images})',
        *_named(file, source),
    )


def _pt2(file: Exported, source: Source) -> str:
    return _lines(
        *(["import json", ""] if _names(file, source) else []),
        *("import numpy", "import torch", "from PIL import Image, ImageOps", ""),
        *_photograph(file, source),
        "",
        'network = torch.export.load("student.pt2").module()',
        "with torch.no_grad():",
        f"    {', '.join(file.outputs)} = network(torch.from_numpy(images))",
        *_named(file, source),
    )


def _timm(source: Source) -> str:
    bare = ", num_classes=0" if source.taught == "embedding" else ""
    return _lines(
        *("import timm", "from PIL import Image, ImageOps", ""),
        f'network = timm.create_model("local-dir:timm", pretrained=True{bare}).eval()',
        "prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network))",
        *_opened(source),
        f"{source.taught} = network(prepare(image).unsqueeze(0))",
    )


def _relatum(source: Source) -> str:
    asked = ", ".join(f"{name}={value}" for name, value in source.made.items())
    taught = source.taught
    inside = taught == "embedding" and source.says != "embedding"
    shape = ", ".join(map(str, source.shape))
    use = [
        f"images = torch.zeros(2, {shape})  # normalised",
        "tapped = Tapped(network, find_taps(network, images))",
        'embedding = tapped.read(images).taps["embedding"]',
    ]
    if not inside:
        use = [f"{taught} = network(torch.zeros(1, {shape}))  # normalised images"]
    if taught == "nothing":
        use = []
    return _lines(
        *("from pathlib import Path", ""),
        *(["import torch", ""] if use else []),
        *(["from relatum import Tapped, find_taps"] if inside else []),
        *("from relatum.models import create", "from relatum.weights import load_weights", ""),
        f'network = create("{public_method(source.name)}", {asked}).eval()',
        f'load_weights(network, Path("{WEIGHTS}"))',
        *use,
    )


def _photograph(file: Exported, source: Source) -> Sequence[str]:
    """Lines that make ``images`` of a photograph: cut, resized and normalised, as far as asked."""
    channels, height, width = source.shape
    lines = _opened(source)
    if not file.resized:
        box = ""
        if height == width:
            lines += [
                "side = min(image.size)",
                "left, top = (image.width - side) / 2, (image.height - side) / 2",
                "square = (left, top, left + side, top + side)",
            ]
            box = ", box=square"
        lines.append(f"image = image.resize(({width}, {height}), Image.Resampling.BILINEAR{box})")
    if file.input == "uint8":
        lines.append("pixels = numpy.array(image)")
    else:
        lines.append("pixels = numpy.array(image, numpy.float32) / 255")
    if file.input == "normalised":
        mean, std = source.tapped.input.mean, source.tapped.input.std
        lines.append(f"mean, std = [{_numbers(mean)}], [{_numbers(std)}]")
        lines.append("pixels = (pixels - numpy.float32(mean)) / numpy.float32(std)")
    first = "pixels[None, None]" if channels == 1 else "pixels.transpose(2, 0, 1)[None]"
    count = file.input_shape[0]
    if isinstance(count, int) and count > 1:
        first = f"{first}.repeat({count}, axis=0)  # always {count} images"
    lines.append(f"images = {first}")
    return lines


def _names(file: Exported, source: Source) -> bool:
    return bool(source.classes) and "logits" in file.outputs


def _named(file: Exported, source: Source) -> list[str]:
    """Lines that say the class of the first image, where the classes have names."""
    if not _names(file, source):
        return []
    return [
        'classes = json.load(open("export.json"))["classes"]',
        "print(classes[logits[0].argmax()])",
    ]


def _opened(source: Source) -> list[str]:
    mode = "L" if source.shape[0] == 1 else "RGB"
    return [line.format(mode=mode) for line in OPENED]


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(map(str, values))
