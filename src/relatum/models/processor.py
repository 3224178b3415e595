"""How a model of transformers wants its images: what the file of its image processor says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from relatum.types import Fault, Input, first_line

SIDES = ("shortest_edge", "longest_edge")
"""How a size is written that leaves an image its proportions: here both are that of a square."""


@dataclass(frozen=True)
class Preparation:
    """What is done to images before a model sees them.

    Attributes:
        input: the size and normalisation, for images in [0, 1].
        flipped: whether blue comes first and red last.
    """

    input: Input
    flipped: bool = False


def preparation(name: str, config: Any) -> Preparation:
    """What a model's own image processor does to images; without one, the size it is built for.

    A processor scales bytes first (by ``rescale_factor``, less 1 with ``rescale_offset``), then
    normalises: here both are one mean and one deviation.

    Args:
        name: of a folder, or on the hub.
        config: the model's own, whose ``image_size`` counts where the processor says none.

    Raises:
        Fault: the file says what no processor can do.
    """
    told = _told(name)
    try:
        return Preparation(_input(told, config), bool(told.get("do_flip_channel_order")))
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise Fault(
            f"hf/{name}: its preprocessor_config.json cannot be read: {first_line(error)}"
        ) from error


def size_of(size: Any) -> tuple[int, int] | None:
    """Height and width, of all the ways in which a size is written.

    Example:
        >>> size_of(224), size_of({"shortest_edge": 256}), size_of({"height": 256, "width": 192})
        ((224, 224), (256, 256), (256, 192))
    """
    if isinstance(size, Mapping):
        pair = [size.get("height"), size.get("width")]
        if not any(pair):
            pair = [next((size[side] for side in SIDES if size.get(side)), None)]
        size = [each for each in pair if each]
    if isinstance(size, int | float):
        size = [size]
    if not isinstance(size, list | tuple) or not size or not size[0]:
        return None
    return int(size[0]), int(size[-1])


def _input(told: Mapping[str, Any], config: Any) -> Input:
    size = size_of(told.get("crop_size")) if told.get("do_center_crop") else None
    if size is None and told.get("do_resize", True):
        size = size_of(told.get("size"))
    size = size or size_of(getattr(config, "image_size", None))
    plain = not told.get("do_normalize", True) or not told.get("image_mean")
    mean = (0.0,) if plain else tuple(map(float, told["image_mean"]))
    std = (1.0,) if plain else tuple(map(float, told["image_std"]))
    factor = float(told.get("rescale_factor") or 1 / 255) if told.get("do_rescale", True) else 1.0
    brightest, less = 255 * factor, float(bool(told.get("rescale_offset")))
    if not isclose(brightest, 1) or less:
        mean = tuple((each + less) / brightest for each in mean)
        std = tuple(each / brightest for each in std)
    if told.get("include_top"):  # EfficientNet's divides twice
        again = tuple(map(float, told["image_std"]))
        mean, std = mean * (len(again) // len(mean)), std * (len(again) // len(std))
        std = tuple(each * more for each, more in zip(std, again, strict=True))
    if not all(std):
        raise ValueError("image_std has a zero")
    return Input(size, mean, std)


def _told(name: str) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    folder = Path(name).expanduser()
    try:
        place = str(folder) if folder.is_dir() else name
        told, _ = ImageProcessingMixin.get_image_processor_dict(place)
    except (OSError, json.JSONDecodeError):
        return {}
    return dict(told)
