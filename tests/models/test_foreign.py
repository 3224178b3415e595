import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.models import create
from relatum.models.foreign import built_for, listed, published
from relatum.types import Fault, Input


def test_timm_takes_any_channels_and_classes() -> None:
    pytest.importorskip("timm")
    network = create("timm/mobilenetv3_small_050", channels=1, size=32, classes=7).eval()
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 7)


def test_timm_networks_of_one_size_are_built_for_this_one() -> None:
    pytest.importorskip("timm")
    network = create("timm/vit_tiny_patch16_224", channels=3, size=48, classes=7).eval()
    assert network(torch.rand(2, 3, 48, 48)).shape == (2, 7)


def test_timm_weights_only_where_the_name_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    asked: list[dict[str, Any]] = []

    def note(name: str, **how: Any) -> nn.Module:
        asked.append({"name": name, **how})
        return nn.Identity()

    monkeypatch.setattr(timm, "create_model", note)
    for name in ("timm/resnet18", "timm/resnet18.a1_in1k:pretrained"):
        create(name, channels=3, size=64, classes=7)
    plain = {"name": "resnet18", "pretrained": False, "num_classes": 7, "in_chans": 3}
    assert asked == [plain, {**plain, "name": "resnet18.a1_in1k", "pretrained": True}]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnt18", "timm has no model 'resnt18'; the nearest are resnet18"),
        ("timm/resnet18.a1_in2k", r"nearest are resnet18\.a1_in1k"),
        ("timm/vovnet57a:pretrained", "no published weights for 'vovnet57a'"),
        ("timm/ResNet18", "the nearest are resnet18"),
        ("timm/", "timm has no model ''; relatum list models timm/ lists all"),
    ],
)
def test_timm_faults(name: str, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(Fault, match=message):
        create(name, channels=3, size=64, classes=7)


def test_timm_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    with pytest.raises(Fault, match=r"timm/hf-hub:\.\./x/y cannot be had"):
        create("timm/hf-hub:../x/y", channels=3, size=64, classes=7)

    def refuse(name: str, **how: Any) -> nn.Module:
        raise RuntimeError("download") from ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(Fault, match=r"of timm/resnet18 could not be fetched .*MODEL@FILE"):
        create("timm/resnet18:pretrained", channels=3, size=64, classes=7)


def test_timm_networks_that_cannot_change_size(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def refuse(name: str, **how: Any) -> nn.Module:
        raise TypeError("unexpected keyword argument 'img_size'")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(Fault, match="cannot be built for 64 pixels, only for 224"):
        create("timm/vit_tiny_patch16_224", channels=3, size=64, classes=7)


def test_timm_networks_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def refuse(name: str, **how: Any) -> nn.Module:
        raise AssertionError("window size must divide the map\nmore of it")

    monkeypatch.setattr(timm, "create_model", refuse)
    says = "timm/resnet18 cannot be built for 64 pixels: window size must divide the map$"
    with pytest.raises(Fault, match=says):
        create("timm/resnet18", channels=3, size=64, classes=7)


def test_a_folder_that_timm_saved(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    torch.manual_seed(0)
    saved = timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=32, depth=1).eval()
    about: dict[str, Any] = {
        "input_size": [3, 32, 32],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    about["fixed_input_size"] = True
    config = {"pretrained_cfg": about, "model_args": {"img_size": 32, "depth": 1}}
    save_for_hf(saved, str(tmp_path), model_config=config, safe_serialization=True)
    name = f"timm/local-dir:{tmp_path}"
    assert published(name) == (7, Input((32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert built_for(name) == 32
    images = torch.rand(2, 3, 32, 32)
    network = create(f"{name}:pretrained", channels=3, size=32, classes=7).eval()
    torch.testing.assert_close(network(images), saved(images))
    larger = create(f"{name}:pretrained", channels=3, size=48, classes=7).eval()
    assert larger(torch.rand(2, 3, 48, 48)).shape == (2, 7)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "nothing"}))
    for asked in (published, built_for):
        with pytest.raises(Fault, match="cannot be had"):
            asked(name)


def test_names_of_a_library_are_listed() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    assert "timm/resnet18" in listed("timm/resnet")
    assert not [each for each in listed("timm/resnet") if not each.startswith("timm/resnet")]
    assert listed("torchvision/*net18") == ["torchvision/resnet18"]
    kinds = listed("hf/")
    assert {"hf/vit", "hf/swinv2", "hf/dinov2"} <= set(kinds)
    assert not {"hf/bert", "hf/gpt2", "hf/detr", "hf/imagegpt"} & set(kinds)
    for text, says in (
        ("timm/vovnett", "timm has no model 'vovnett'; the nearest are .*vovnet"),
        ("keras/vgg", "no library is called 'keras'; there are timm, torchvision, hf"),
    ):
        with pytest.raises(Fault, match=says):
            listed(text)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_absent(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Fault, match="pip install"):
        create(f"{library}/resnet18", channels=3, size=32, classes=7)


def test_torchvision() -> None:
    network = create("torchvision/mobilenet_v2", channels=3, size=32, classes=7).eval()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "channels", "message"),
    [
        ("torchvision/resnt18", 3, "torchvision has no model 'resnt18'; the nearest are resnet18"),
        ("torchvision/fcn_resnet50", 3, "torchvision has no model"),
        ("torchvision/resnet18", 1, "takes images of 3 channels, these have 1; timm/NAME"),
    ],
)
def test_torchvision_faults(name: str, channels: int, message: str) -> None:
    with pytest.raises(Fault, match=message):
        create(name, channels=channels, size=32, classes=7)


def publish(monkeypatch: pytest.MonkeyPatch, weights: dict[str, Tensor]) -> None:
    from torchvision import models

    def download(self: Any, **how: Any) -> dict[str, Tensor]:
        return weights

    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", download)


def test_torchvision_weights_keep_all_but_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    published = models.resnet18().state_dict()
    publish(monkeypatch, published)
    network = create("torchvision/resnet18:pretrained", channels=3, size=32, classes=7)
    for key, value in network.state_dict().items():
        if key.startswith("fc."):
            assert value.shape[0] == 7
        else:
            torch.testing.assert_close(value, published[key])
    full = create("torchvision/resnet18:pretrained", channels=3, size=32, classes=1000)
    torch.testing.assert_close(dict(full.state_dict()), dict(published))


def test_torchvision_weights_of_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, {"encoder.pos_embedding": torch.zeros(1, 197, 768)})
    with pytest.raises(Fault, match="ask for the size that it was trained at"):
        create("torchvision/vit_b_16:pretrained", channels=3, size=32, classes=7)
