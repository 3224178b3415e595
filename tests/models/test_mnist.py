import pytest
import torch
from torch import nn

from relatum.models import MODELS
from relatum.models.mnist import AutoEncoder, Perceptron, mnist_ae_64, mnist_mlp_32
from relatum.taps import Tapped

CLASSIFIERS = {"mnist-mlp-1200": (2_395_210, 2_383_200), "mnist-mlp-32": (26_506, 26_176)}
AUTO_ENCODERS = {"mnist-ae-64": (218_192, 108_736), "mnist-ae-32": (105_392, 52_320)}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "counts"), [*CLASSIFIERS.items(), *AUTO_ENCODERS.items()])
def test_parameters_are_those_of_the_paper(name: str, counts: tuple[int, int]) -> None:
    network = MODELS[name]()
    assert (count(network), count(network.get_submodule("encoder"))) == counts


def kinds(network: nn.Module) -> list[str]:
    leaves = (module for module in network.modules() if not list(module.children()))
    return [type(module).__name__ for module in leaves]


def test_layers_are_in_the_order_of_the_paper() -> None:
    hidden = ["Linear", "Dropout", "ReLU"]
    assert kinds(mnist_mlp_32()) == ["Flatten", *hidden, *hidden, "Linear"]
    assert kinds(mnist_ae_64()) == ["Flatten", *hidden * 3, "Linear", "Tanh", "Unflatten"]


def test_the_classifiers_embedding_is_its_second_hidden_linear_layer() -> None:
    network = mnist_mlp_32().eval()
    images = torch.rand(4, 1, 28, 28)
    captured = Tapped(network, network.taps)(images)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    by_hand = linear[1](linear[0](images.flatten(1)).relu())
    embedding = captured.read("embedding")
    torch.testing.assert_close(embedding, by_hand)
    torch.testing.assert_close(captured.output, linear[2](by_hand.relu()))
    assert isinstance(embedding, torch.Tensor)
    assert embedding.min() < 0


def test_the_auto_encoders_embedding_is_its_bottleneck() -> None:
    network = mnist_ae_64().eval()
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    captured = Tapped(network, network.taps)(images)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    by_hand = linear[1](linear[0](images.flatten(1)).relu())
    assert by_hand.shape == (4, 64)
    torch.testing.assert_close(captured.read("embedding"), by_hand)
    torch.testing.assert_close(captured.read("preactivations"), (by_hand,))
    assert captured.output.shape == images.shape
    decoded = linear[3](linear[2](by_hand.relu()).relu()).tanh()
    torch.testing.assert_close(captured.output, decoded.view_as(images))


def test_no_dropout_reaches_the_embedding_but_that_of_the_first_layer() -> None:
    network = mnist_mlp_32(dropout=0.9).train()
    network.encoder[2].eval()  # the first layer's dropout
    images = torch.rand(4, 1, 28, 28)
    tapped = Tapped(network, network.taps)
    first, second = tapped(images), tapped(images)
    torch.testing.assert_close(first.read("embedding"), second.read("embedding"))
    assert not torch.equal(first.output, second.output)


def test_the_dropout_rate_is_an_argument() -> None:
    for network in (mnist_mlp_32(), mnist_ae_64()):
        assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.5}
    network = mnist_mlp_32(dropout=0.0).train()
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(network(images), network(images))


def test_any_image() -> None:
    assert Perceptron(3, 8, 7, width=16)(torch.rand(2, 3, 8, 8)).shape == (2, 7)
    assert AutoEncoder(3, 8, hidden=16, bottleneck=4)(torch.rand(2, 3, 8, 8)).shape == (2, 3, 8, 8)
