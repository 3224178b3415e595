"""What is found in other libraries' networks is what those libraries say themselves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum.discovery import classifies, find_classifier, find_taps
from relatum.models import create
from relatum.models.huggingface import HuggingFace
from relatum.taps import Tap, Tapped
from relatum.types import Captured

torch.manual_seed(0)
IMAGES = torch.rand(2, 3, 64, 64)


def said(network: nn.Module, images: Tensor = IMAGES) -> Captured:
    captured: Captured = Tapped(network.eval(), find_taps(network, images))(images)
    return captured


def alike(value: Any, expected: list[Tensor]) -> None:
    assert isinstance(value, tuple)
    assert len(value) == len(expected)
    for mine, its in zip(value, expected, strict=True):
        torch.testing.assert_close(mine, its)


def timm_vit(**how: Any) -> Any:
    pytest.importorskip("timm")
    from timm.models.vision_transformer import VisionTransformer

    sizes: dict[str, Any] = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 8}
    sizes["num_heads"] = 2
    return VisionTransformer(**sizes, num_classes=5, **how)


@pytest.mark.parametrize(
    ("how", "prefix", "classed"),
    [
        ({}, 1, True),
        ({"reg_tokens": 4}, 5, True),
        ({"class_token": False, "global_pool": "avg"}, 0, False),
        ({"class_token": False, "reg_tokens": 2, "global_pool": "avg"}, 2, False),
    ],
)
def test_a_vit_of_timm(how: dict[str, Any], prefix: int, classed: bool) -> None:
    network = timm_vit(**how)
    captured = said(network)
    with torch.no_grad():
        tokens = network.forward_features(IMAGES)
        last = network.forward_intermediates(IMAGES, indices=[1, 3, 5, 7], intermediates_only=True)
        pooled = network.forward_head(tokens, pre_logits=True)
    patches = tokens[:, prefix:]
    torch.testing.assert_close(captured.taps["tokens"], patches)
    torch.testing.assert_close(captured.taps["mean_token"], patches.mean(1))
    maps = patches.transpose(1, 2).reshape(2, 24, 4, 4)
    torch.testing.assert_close(captured.taps["maps"], maps)
    torch.testing.assert_close(captured.taps["embedding"], pooled)
    assert ("class_token" in captured.taps) == classed
    if classed:
        torch.testing.assert_close(captured.taps["class_token"], tokens[:, 0])
    alike(captured.taps["stages"], list(last))


def test_a_swin_of_timm_whose_channels_come_last() -> None:
    pytest.importorskip("timm")
    from timm.models.swin_transformer import SwinTransformer

    sizes: dict[str, Any] = {"img_size": 64, "window_size": 2, "embed_dim": 12}
    sizes["num_heads"] = (1, 1, 2, 2)
    network = SwinTransformer(**sizes, depths=(1, 1, 2, 1), num_classes=5)
    captured = said(network)
    with torch.no_grad():
        features = network.forward_features(IMAGES)
        inside = network.forward_intermediates(IMAGES, intermediates_only=True)
        pooled = network.forward_head(features, pre_logits=True)
    torch.testing.assert_close(captured.taps["maps"], features.permute(0, 3, 1, 2))
    torch.testing.assert_close(captured.taps["embedding"], pooled)
    alike(captured.taps["stages"], [*inside[:3], features.permute(0, 3, 1, 2)])
    assert "tokens" not in captured.taps


def test_a_cnn_of_timm() -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=5)
    captured = said(network)
    inside = network.forward_intermediates(IMAGES, intermediates_only=True)
    alike(captured.taps["stages"], inside[1:])
    torch.testing.assert_close(captured.taps["stem"], inside[0])
    torch.testing.assert_close(captured.taps["maps"], network.forward_features(IMAGES))


def test_a_convnext_of_torchvision_has_its_stages_and_not_their_norms() -> None:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    settings = [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 1), CNBlockConfig(16, None, 1)]
    network = ConvNeXt(settings, num_classes=5)
    stages = find_taps(network, IMAGES)["stages"]
    assert stages == (Tap("features.1"), Tap("features.3"), Tap("features"))


def hugging_face(kind: str, **how: Any) -> HuggingFace:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(kind, num_labels=5, image_size=64, **how)
    return HuggingFace(transformers.AutoModelForImageClassification.from_config(config)).eval()


SMALL = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 16}


@pytest.mark.parametrize(
    ("kind", "prefix"), [("vit", 1), ("dinov2_with_registers", 5), ("beit", 1)]
)
def test_a_vit_of_transformers(kind: str, prefix: int) -> None:
    network = hugging_face(kind, **SMALL, intermediate_size=32)
    captured = said(network)
    with torch.no_grad():
        whole = network._hidden[0]
        base = getattr(whole, whole.base_model_prefix)(IMAGES, output_hidden_states=True)
    patches = base.last_hidden_state[:, prefix:]
    torch.testing.assert_close(captured.taps["tokens"], patches)
    torch.testing.assert_close(captured.taps["class_token"], base.last_hidden_state[:, 0])
    expected = [each[:, prefix:].transpose(1, 2).reshape(2, 24, 4, 4) for each in base[-1][1:]]
    if kind == "vit":  # older transformers normalise the last of them
        stages = captured.taps["stages"]
        alike(stages[:3], expected[:3])
        last = stages[3].flatten(2).transpose(1, 2)
        torch.testing.assert_close(network.get_submodule("vit.layernorm")(last), patches)
    assert find_classifier(network, find_taps(network, IMAGES)) == "classifier"


def test_a_swin_of_transformers_whose_stages_end_by_halving() -> None:
    sizes = {"embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2]}
    network = hugging_face("swin", **sizes, window_size=2, drop_path_rate=0.0)
    captured = said(network)
    with torch.no_grad():
        encoder = network._hidden[0].swin
        entered, grid = encoder.embeddings(IMAGES)
        expected = []
        for layer in encoder.encoder.layers:
            for block in layer.blocks:
                entered = block(entered, grid)
                entered = entered[0] if isinstance(entered, tuple) else entered
            rows, columns = grid
            expected.append(entered.transpose(1, 2).reshape(2, -1, rows, columns))
            if layer.downsample is not None:
                entered = layer.downsample(entered, grid)
                grid = (rows // 2, columns // 2)
        last = encoder.layernorm(entered).transpose(1, 2).reshape(2, -1, *grid)
    alike(captured.taps["stages"], [*expected[:3], last])


def test_a_resnet_of_transformers() -> None:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}
    network = hugging_face("resnet", **sizes, layer_type="basic")
    captured = said(network)
    with torch.no_grad():
        base = network._hidden[0].resnet(IMAGES, output_hidden_states=True)
    alike(captured.taps["stages"], list(base.hidden_states[1:]))
    torch.testing.assert_close(captured.taps["embedding"], base.pooler_output.flatten(1))


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_compiled_they_say_the_same(library: str) -> None:
    timm = library == "timm"
    network = timm_vit() if timm else hugging_face("vit", **SMALL, intermediate_size=32)
    tapped = Tapped(network.eval(), find_taps(network, IMAGES))
    plain = tapped(IMAGES)
    compiled = torch.compile(tapped, backend="eager")(IMAGES)
    torch.testing.assert_close(compiled.output, plain.output)
    torch.testing.assert_close(dict(compiled.taps), dict(plain.taps))


class Squeezed(nn.Module):
    """Its last layer is a convolution, whose classes are averaged over the pixels."""

    def __init__(self, dropout: nn.Module, bias: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 4, 1)
        )
        self.head = nn.Sequential(dropout, nn.Conv2d(16, 5, 1, bias=bias), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.pool(self.head(self.features(images))).flatten(1)
        return logits


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), nn.Identity()])
def test_the_maps_of_classes_are_no_embedding(dropout: nn.Module) -> None:
    network = Squeezed(dropout)
    captured = said(network)
    maps = network.features(IMAGES)
    torch.testing.assert_close(captured.taps["maps"], maps)
    torch.testing.assert_close(captured.taps["embedding"], maps.mean((2, 3)))
    alike(captured.taps["stages"], [network.features[:2](IMAGES), maps])


def test_a_convolution_of_no_bias_gives_an_embedding() -> None:
    assert find_taps(Squeezed(nn.Identity(), bias=False), IMAGES)["embedding"] == Tap("")


def test_a_bit_of_timm_whose_last_layer_is_a_convolution() -> None:
    pytest.importorskip("timm")
    from timm.layers.norm_act import BatchNormAct2d
    from timm.models.resnetv2 import ResNetV2

    sizes: dict[str, Any] = {"channels": (8, 12, 16, 20), "stem_chs": 8, "num_classes": 5}
    network = ResNetV2([1, 1, 1, 1], **sizes, norm_layer=BatchNormAct2d)
    captured = said(network)
    with torch.no_grad():
        features = network.forward_features(IMAGES)
        pooled = network.forward_head(features, pre_logits=True)
    torch.testing.assert_close(captured.taps["maps"], features)
    torch.testing.assert_close(captured.taps["embedding"], pooled.flatten(1))


@pytest.mark.parametrize("pool", ["avg", "map"])
def test_the_keys_of_an_attention_that_pools_are_no_maps(pool: str) -> None:
    network = timm_vit(class_token=False, global_pool=pool)
    captured = said(network)
    with torch.no_grad():
        tokens = network.forward_features(IMAGES)
        pooled = network.forward_head(tokens, pre_logits=True)
    torch.testing.assert_close(captured.taps["tokens"], tokens)
    torch.testing.assert_close(captured.taps["embedding"], pooled)


class Labelled(nn.Module):
    """Tells the classes of the image, then those of each patch, as VOLO."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 8, 8)
        self.block = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)
        self.each = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.block(self.cut(images).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(tokens.mean(1)) + self.each(tokens).amax(1)
        return logits


def test_classes_of_patches_are_neither_embedding_nor_maps() -> None:
    taps = find_taps(Labelled(), IMAGES)
    assert taps["embedding"] == Tap("head", "input")
    maps = taps["maps"]
    assert isinstance(maps, Tap)
    assert maps.path == "block"


def test_a_masked_auto_encoder_sees_every_patch_where_it_is(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {**SMALL, "intermediate_size": 32, "image_size": 64}
    transformers.AutoConfig.for_model("vit_mae", **sizes).save_pretrained(tmp_path)
    network = create(f"hf/{tmp_path}", channels=3, size=64, classes=0)
    captured = said(network)
    maps = captured.taps["maps"]
    assert isinstance(maps, Tensor)
    assert maps.shape == (2, 24, 4, 4)
    torch.testing.assert_close(said(network).taps["maps"], maps)
    by_patch = network(IMAGES)
    changed = IMAGES.clone()
    changed[:, :, 48:, 48:] = 0
    with torch.no_grad():
        embedded = [
            network.get_submodule("embeddings")(each, noise=order)[0]
            for each in (IMAGES, changed)
            for order in (torch.arange(16).expand(2, -1),)
        ]
    moved = (embedded[0] - embedded[1]).abs().sum((0, 2)) > 0
    assert moved.nonzero().flatten().tolist() == [16]  # behind the class token, the last patch
    assert by_patch.shape == (2, 24)


class Isotropic(nn.Module):
    """Blocks of one resolution whose channels are as many as its rows: NCHW is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.blocks = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(self.blocks(self.stem(images))).flatten(1))
        return logits


def test_blocks_of_one_resolution_are_evenly_spaced() -> None:
    taps = find_taps(Isotropic(), IMAGES)
    assert taps["stages"] == tuple(Tap(f"blocks.{number}") for number in (1, 2, 3, 5))
    assert taps["maps"] == Tap("blocks")


class Branches(nn.Module):
    """A block whose last branch ends by halving what its first convolution gave."""

    def __init__(self) -> None:
        super().__init__()
        self.short = nn.Conv2d(8, 8, 3, 2, 1)
        self.first = nn.Conv2d(8, 8, 3, 1, 1)
        self.second = nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.short(maps), self.second(self.first(maps))], 1)


def test_the_inside_of_a_block_is_no_stage() -> None:
    stem, head = nn.Conv2d(3, 8, 4, 4), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)]
    network = nn.Sequential(stem, Branches(), *head)
    assert find_taps(network, IMAGES)["stages"] == (Tap("0"), Tap("1"))


class Codes(nn.Module):
    """An auto-encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(3)))
        self.up = nn.Sequential(*(nn.ConvTranspose2d(3, 3, 2, 2) for _ in range(3)))

    def forward(self, images: Tensor) -> Tensor:
        decoded: Tensor = self.up(self.down(images))
        return decoded


def test_the_stages_of_an_auto_encoder_are_its_encoders() -> None:
    stages = find_taps(Codes(), IMAGES)["stages"]
    assert stages == (Tap("down.0"), Tap("down.1"), Tap("down.2"))


@pytest.mark.parametrize(
    ("name", "classes", "told"),
    [
        ("torchvision/squeezenet1_1", 7, True),  # a convolution, and the mean of what it says
        ("timm/resnet10t", 7, True),
        ("timm/resnet10t", 0, False),
    ],
)
def test_whether_a_last_layer_tells_classes(name: str, classes: int, told: bool) -> None:
    network = create(name, channels=3, size=64, classes=classes).eval()
    assert classifies(network, find_taps(network, torch.rand(2, 3, 64, 64))) is told
