"""Models of transformers: tiny ones, saved as anybody saves them."""

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from relatum.models import create
from relatum.models.foreign import built_for, published
from relatum.types import Fault, Input

IMAGES = torch.rand(2, 3, 32, 32)
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY |= {"intermediate_size": 16, "patch_size": 8}
ASKED = {"channels": 3, "size": 32, "classes": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of seven classes at 32 pixels, and how its images are prepared."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(**TINY, image_size=32, num_labels=7)
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(path)
    about = {"size": {"height": 32, "width": 32}, "do_normalize": True}
    about |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (path / "preprocessor_config.json").write_text(json.dumps(about))
    return path


def test_its_weights_keep_the_models_own_names(folder: Path) -> None:
    from transformers import ViTForImageClassification

    whole = ViTForImageClassification.from_pretrained(folder).eval()
    network = create(f"hf/{folder}:pretrained", **ASKED).eval()
    assert list(network.state_dict()) == list(whole.state_dict())
    torch.testing.assert_close(dict(network.state_dict()), dict(whole.state_dict()))
    torch.testing.assert_close(network(IMAGES), whole(IMAGES).logits)
    assert "vit.layernorm" in dict(network.named_modules())


def test_weights_in_several_files(folder: Path, tmp_path: Path) -> None:
    from transformers import ViTForImageClassification

    whole = ViTForImageClassification.from_pretrained(folder).eval()
    whole.bfloat16().save_pretrained(tmp_path, max_shard_size="10KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    network = create(f"hf/{tmp_path}:pretrained", **ASKED).eval()
    torch.testing.assert_close(dict(network.state_dict()), dict(whole.float().state_dict()))
    next(tmp_path.glob("model-00002-*")).unlink()
    with pytest.raises(Fault, match="cannot be built") as caught:
        create(f"hf/{tmp_path}:pretrained", **ASKED)
    assert "\n" not in str(caught.value)


def test_what_is_done_to_the_network_is_done_to_the_model(folder: Path) -> None:
    network = create(f"hf/{folder}", **ASKED).eval()
    before = network(IMAGES)
    other = copy.deepcopy(network)
    torch.nn.init.zeros_(other.get_parameter("classifier.weight"))
    torch.testing.assert_close(network(IMAGES), before)
    assert not torch.equal(other(IMAGES), before)
    torch.testing.assert_close(pickle.loads(pickle.dumps(network))(IMAGES), before)
    assert network.double()(IMAGES.double()).dtype == torch.float64
    network.set_submodule("classifier", torch.nn.Identity())
    assert network(IMAGES.double()).shape == (2, 16)


def test_it_learns(folder: Path) -> None:
    network = create(f"hf/{folder}", **ASKED)
    assert network.training
    assert all(each.training for each in network.children())
    network(IMAGES).square().sum().backward()
    assert all(each.grad is not None for each in network.parameters())


def test_a_classifier_for_other_classes_starts_anew(folder: Path) -> None:
    network = create(f"hf/{folder}:pretrained", **{**ASKED, "classes": 3}).eval()
    same = create(f"hf/{folder}:pretrained", **ASKED)
    assert network(IMAGES).shape == (2, 3)
    for name, value in network.state_dict().items():
        if not name.startswith("classifier."):
            torch.testing.assert_close(value, same.state_dict()[name])


def test_without_classes_it_gives_its_embedding(folder: Path) -> None:
    network = create(f"hf/{folder}:pretrained", **{**ASKED, "classes": 0}).eval()
    whole = create(f"hf/{folder}:pretrained", **ASKED).eval()
    embedding = network(IMAGES)  # no pooler was trained, so its class token
    torch.testing.assert_close(whole.get_submodule("classifier")(embedding), whole(IMAGES))


def test_what_is_published_of_it(folder: Path) -> None:
    assert published(f"hf/{folder}") == (7, Input((32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)))
    assert built_for(f"hf/{folder}") == 32
    assert built_for("hf/vit") == 224
    assert built_for("hf/resnet") is None


def test_one_that_was_published_for_its_embedding(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(**TINY, image_size=32)
    whole = transformers.Dinov2Model(config).eval()
    whole.save_pretrained(tmp_path)
    assert published(f"hf/{tmp_path}")[0] == 0
    network = create(f"hf/{tmp_path}:pretrained", **{**ASKED, "classes": 0}).eval()
    torch.testing.assert_close(network(IMAGES), whole(IMAGES).pooler_output)


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("hf/vitt", {}, "no kind of vision model 'vitt'; the nearest are vit"),
        ("hf/DINOV", {}, "the nearest are dinov"),
        ("hf/bort", {}, "the nearest are (?!.*bert)(?!.*bart)"),
        ("hf/bert", {}, r"hf/bert \(bert\) sees no images"),
        ("hf/", {}, "names no model"),
        ("hf/vit:pretrained", {}, "has no weights; name a model"),
        ("hf/cvt", {"channels": 0}, "channels must be at least 1"),
    ],
)
def test_faults(name: str, asked: dict[str, int], message: str) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(Fault, match=message) as caught:
        create(name, **{**ASKED, **asked})
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_or_damaged(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="ask for the size that it was trained at"):
        create(f"hf/{folder}:pretrained", **{**ASKED, "size": 64})
    with pytest.raises(Fault, match=r"holds no config\.json"):
        create(f"hf/{tmp_path}", **ASKED)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(Fault, match="cannot be built"):
        create(f"hf/{tmp_path}:pretrained", **ASKED)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Path}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Fault, match="a pickle of more than tensors") as caught:
        create(f"hf/{tmp_path}:pretrained", **ASKED)
    assert "\n" not in str(caught.value)
    about = tmp_path / "preprocessor_config.json"
    about.write_text(json.dumps({"image_mean": "abc", "image_std": [1, 1, 1]}))
    with pytest.raises(Fault, match=r"preprocessor_config\.json cannot be read"):
        published(f"hf/{tmp_path}")
    about.unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": "abc"}))
    with pytest.raises(Fault, match=r"cannot be (had|built)"):  # as transformers looks at it
        create(f"hf/{tmp_path}", **ASKED)


def test_a_folder_by_its_plain_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert create(f"hf/{folder.name}:pretrained", **ASKED).num_classes == 7


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Fault, match=r"pip install relatum\[huggingface\]"):
        create("hf/vit", **ASKED)


def test_grey_images(folder: Path) -> None:
    asked: dict[str, Any] = {**ASKED, "channels": 1}
    assert create(f"hf/{folder}", **asked)(IMAGES[:, :1]).shape == (2, 7)
