"""Sizes and work against counting by hand and against published numbers."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18

from relatum.evaluate import compression, encoder_parameters, macs, parameters
from relatum.taps import Tap, Tapped
from relatum.types import Fault


def autoencoder(hidden: int, bottleneck: int) -> Tapped:
    """RRKD's on MNIST; the embedding is the bottleneck before its activation."""

    def block(width_in: int, width_out: int) -> list[nn.Module]:
        return [nn.Linear(width_in, width_out), nn.Dropout(0.5), nn.ReLU()]

    network = nn.Sequential(
        nn.Flatten(),
        *block(784, hidden),
        *block(hidden, bottleneck),
        *block(bottleneck, hidden),
        nn.Linear(hidden, 784),
        nn.Tanh(),
        nn.Unflatten(1, (1, 28, 28)),
    )
    both = (Tap("4"), Tap("7"))
    return Tapped(network, {"embedding": Tap("4"), "stages": both, "image": Tap("", "input")})


@pytest.mark.parametrize(
    ("hidden", "bottleneck", "full", "encoder"),
    [(128, 64, 218_192, 108_736), (64, 32, 105_392, 52_320)],
)
def test_the_published_autoencoders(hidden: int, bottleneck: int, full: int, encoder: int) -> None:
    tapped = autoencoder(hidden, bottleneck)
    assert parameters(tapped) == parameters(tapped.network) == full
    assert encoder_parameters(tapped, (1, 28, 28)) == encoder
    assert encoder_parameters(tapped, (1, 28, 28), on="output") == full
    deeper = bottleneck * hidden + hidden
    assert encoder_parameters(tapped, (1, 28, 28), on="stages") == encoder + deeper
    assert encoder_parameters(tapped, (1, 28, 28), on="image") == 0


def test_counting_leaves_no_trace_and_counts_the_frozen() -> None:
    tapped = autoencoder(64, 32).train().requires_grad_(False)
    last = tapped.get_submodule("network.10").requires_grad_(True)
    assert encoder_parameters(tapped, (1, 28, 28)) == 52_320
    assert [name for name, each in tapped.named_parameters() if each.requires_grad] == [
        "network.10.weight",
        "network.10.bias",
    ]
    assert all(each.grad is None for each in tapped.parameters())
    assert last.training
    with torch.no_grad():
        assert encoder_parameters(tapped, (1, 28, 28)) == 52_320


class Tied(nn.Module):
    """The second layer is the first one's weight again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(images.flatten(1)))
        return out


def test_shared_numbers_count_once() -> None:
    assert parameters(Tied()) == 16 + 4 + 4
    tapped = Tapped(Tied(), {"embedding": Tap("first")})
    assert encoder_parameters(tapped, (1, 2, 2)) == 16 + 4
    assert encoder_parameters(tapped, (1, 2, 2), on="output") == 24


def test_a_closed_relu_hides_nothing() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        network.get_parameter("1.bias").fill_(-1)
    tapped = Tapped(network, {"embedding": Tap("3", "input")})
    assert encoder_parameters(tapped, (1, 2, 2)) == 15


def test_work_of_convolutions_equals_the_formula() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).train()
    assert macs(network, (4, 10, 6)) == (5 * 3) * 8 * (4 // 2) * 9 + 8 * 5
    assert network[1].training
    assert torch.equal(network.get_buffer("1.running_mean"), torch.zeros(8))
    assert macs(network.half(), (4, 10, 6)) == 2200
    assert macs(Tapped(network.float(), {}), (4, 10, 6)) == 2200


def test_resnet18_costs_what_torchvision_says() -> None:
    network = resnet18()
    meta = ResNet18_Weights.DEFAULT.meta
    assert macs(network, (3, 224, 224)) / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
    assert parameters(network) == meta["num_params"]
    tapped = Tapped(network, {"embedding": Tap("fc", "input")})
    assert encoder_parameters(tapped, (3, 32, 32)) == meta["num_params"] - 513_000


def test_attention_is_not_missed() -> None:
    """At rest, PyTorch runs this layer in one fused step that its counter takes for nothing."""
    tokens, width = 6, 8
    layer = nn.TransformerEncoderLayer(width, nhead=2, dim_feedforward=16, batch_first=True)
    network = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (tokens, width)), layer)
    dense = tokens * (3 * width * width + width * width + 2 * width * 16)
    attention = 2 * tokens * tokens * width
    assert torch.backends.mha.get_fastpath_enabled()
    assert macs(network, (1, tokens, width)) == dense + attention
    assert torch.backends.mha.get_fastpath_enabled()


def test_compression_of_the_published_pair() -> None:
    assert compression(52_320, 108_736) == {
        "parameters_student": 52_320,
        "parameters_teacher": 108_736,
        "ratio_percent": pytest.approx(48.1165, abs=1e-4),
        "times_smaller": pytest.approx(2.07829, abs=1e-5),
    }


def test_faults_say_what_came() -> None:
    with pytest.raises(Fault, match="above zero, came 3 and 0"):
        compression(3, 0)
    with pytest.raises(Fault, match="no tap 'maps'; it has output, embedding, stages"):
        encoder_parameters(autoencoder(64, 32), (1, 28, 28), on="maps")
