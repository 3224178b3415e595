"""Images come to a model of transformers as its own processor would bring them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from relatum.models import create
from relatum.models.processor import preparation, size_of
from relatum.run.sizes import own_size
from relatum.taps import Tapped
from relatum.types import Fault

NONE = SimpleNamespace()
NUMBERS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5]}


def seen(folder: Path) -> Tensor:
    """What a network that returns its images sees of one, by the file in a folder."""
    input = preparation(str(folder), NONE).input
    output: Tensor = Tapped(nn.Identity(), {}, input)(picture()).output
    return output


def picture() -> Tensor:
    values = torch.arange(3 * 8 * 8).reshape(1, 3, 8, 8)
    return (values * 37 % 256).float() / 255


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("ViTImageProcessor", {"size": {"height": 8, "width": 8}, **NUMBERS}),
        ("ViTImageProcessor", {"size": {"height": 8, "width": 8}, "do_normalize": False}),
        ("ViTImageProcessor", {"rescale_factor": 1 / 127.5, "size": 8, **NUMBERS}),
        ("ViTImageProcessor", {"do_rescale": False, "size": 8, **NUMBERS}),
        (
            "EfficientNetImageProcessor",
            {"rescale_factor": 1 / 127.5, "rescale_offset": True, "size": 8, **NUMBERS},
        ),
        ("EfficientNetImageProcessor", {"do_normalize": False, "size": 8, **NUMBERS}),
        (
            "ConvNextImageProcessor",
            {"size": {"shortest_edge": 8}, "crop_pct": 1.0, **NUMBERS},
        ),
        (
            "CLIPImageProcessor",
            {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}, **NUMBERS},
        ),
    ],
)
def test_numbers_are_those_of_the_processor(
    kind: str, told: dict[str, Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, kind)(**told)
    processor.save_pretrained(tmp_path)
    pixels = np.asarray((picture()[0] * 255).round().permute(1, 2, 0), dtype=np.uint8)
    expected = processor(pixels, return_tensors="pt", input_data_format="channels_last")
    torch.testing.assert_close(seen(tmp_path), expected["pixel_values"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (224, (224, 224)),
        ([256, 192], (256, 192)),
        ({"height": 256, "width": 192}, (256, 192)),
        ({"shortest_edge": 800, "longest_edge": 1333}, (800, 800)),
        ({"longest_edge": 1024}, (1024, 1024)),
        ({}, None),
        (None, None),
        (0, None),
    ],
)
def test_sizes_in_all_their_spellings(size: Any, expected: tuple[int, int] | None) -> None:
    assert size_of(size) == expected


def test_one_that_was_trained_on_blue_first_is_given_red_first(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"image_size": 32, "hidden_sizes": [16, 16, 16], "num_labels": 7}
    sizes |= {"neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16], "num_attention_heads": 2}
    config = transformers.MobileViTConfig(**sizes)
    torch.manual_seed(0)
    whole = transformers.MobileViTForImageClassification(config).eval()
    whole.save_pretrained(tmp_path)
    about = {"do_flip_channel_order": True, "do_normalize": False, "size": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    images = torch.rand(2, 3, 32, 32)
    for name in (f"hf/{tmp_path}:pretrained", f"hf/{tmp_path}"):
        network = create(name, channels=3, size=32, classes=7).eval()
        network.load_state_dict(whole.state_dict())
        torch.testing.assert_close(network(images), whole(images.flip(1)).logits)


def test_a_model_of_images_that_are_no_squares(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "patch_size": 8, "image_size": [32, 24], "num_labels": 7}
    whole = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)).eval()
    whole.save_pretrained(tmp_path)
    network = create(f"hf/{tmp_path}:pretrained", channels=3, size=32, classes=7).eval()
    input = preparation(str(tmp_path), whole.config).input
    assert input.size == (32, 24)
    images = torch.rand(2, 3, 32, 32)
    squeezed = nn.functional.interpolate(images, (32, 24), mode="bilinear", antialias=True)
    captured = Tapped(network, {}, input)(images)
    torch.testing.assert_close(captured.output, whole(squeezed).logits)
    square = create(f"hf/{tmp_path}", channels=3, size=32, classes=7).eval()  # begun anew
    assert square(images).shape == (2, 7)
    with pytest.raises(
        Fault, match=r"built for images of 32x24 pixels.*shows its networks squares"
    ):
        own_size(f"hf/{tmp_path}:pretrained")
