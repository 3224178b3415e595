"""First weights that several families share."""

from torch import nn


def he_fan_out(network: nn.Module) -> None:
    """Draw every convolution from He's normal distribution, in place; batch norms start at 1, 0.

    The variance is 2 / (kernel area x output channels), so that gradients keep their size
    through ReLUs; biases of convolutions start at 0. Linear layers keep what PyTorch gave them.
    Source: He et al. 2015 and the CRD benchmark.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def narrow_normal(classifier: nn.Linear) -> None:
    """Draw a classifier from N(0, 0.01²), in place; its bias starts at 0. Source: VGG's authors."""
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
