"""The perceptrons and auto-encoders of RRKD's MNIST experiments (Ramos, Alampay, Abu 2023).

Weights start as PyTorch draws them. Parameters are counted for images of 1 x 28 x 28.
"""

from torch import Tensor, nn

from relatum.taps import Tap, Taps
from relatum.types import Images, Logits


class Perceptron(nn.Module):
    """Two hidden layers and a classifier; each hidden layer is Linear, Dropout, ReLU.

    Args:
        channels: of the images.
        size: their height and width, in pixels.
        classes: how many to tell apart.
        width: units in each hidden layer.
        dropout: the chance that a unit is silenced. The paper's code: 0.5.

    The tap ``embedding`` is what leaves the second hidden linear layer, before its dropout and
    ReLU: the features that RRKD matches. ``preactivations`` is a tuple of that one place.
    """

    taps: Taps

    def __init__(
        self, channels: int, size: int, classes: int, width: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * size * size, width),
            *_silenced(dropout),
            nn.Linear(width, width),
        )
        self.classifier = nn.Sequential(*_silenced(dropout), nn.Linear(width, classes))
        self.taps = {"embedding": Tap("encoder"), "preactivations": (Tap("encoder"),)}

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        logits: Tensor = self.classifier(self.encoder(images))
        return logits


class AutoEncoder(nn.Module):
    """Image to hidden layer to bottleneck and back, mirrored; Tanh gives values in [-1, 1].

    Dropout, then ReLU follow each of the three hidden linear layers, the bottleneck included.

    Args:
        channels: of the images.
        size: their height and width, in pixels.
        hidden: units in the layer before and in the one after the bottleneck.
        bottleneck: units in the narrowest layer.
        dropout: the chance that a unit is silenced. The paper's code: 0.5.

    The tap ``embedding`` is what leaves the bottleneck's linear layer, before its dropout and
    ReLU; ``preactivations`` is a tuple of that one place. The output is the reconstruction, for
    images that were normalised to [-1, 1].
    """

    taps: Taps

    def __init__(
        self, channels: int, size: int, hidden: int, bottleneck: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        pixels = channels * size * size
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pixels, hidden),
            *_silenced(dropout),
            nn.Linear(hidden, bottleneck),
        )
        self.decoder = nn.Sequential(
            *_silenced(dropout),
            nn.Linear(bottleneck, hidden),
            *_silenced(dropout),
            nn.Linear(hidden, pixels),
            nn.Tanh(),
            nn.Unflatten(1, (channels, size, size)),
        )
        self.taps = {"embedding": Tap("encoder"), "preactivations": (Tap("encoder"),)}

    def forward(self, images: Images) -> Images:
        """Images in [-1, 1] to their reconstructions."""
        reconstruction: Tensor = self.decoder(self.encoder(images))
        return reconstruction


def _silenced(dropout: float) -> tuple[nn.Module, nn.Module]:
    return nn.Dropout(dropout), nn.ReLU()


class Projection(nn.Module):
    """A linear layer to an embedding, and a linear classifier on it: nothing in between.

    Args:
        channels: of the images.
        size: their height and width, in pixels.
        classes: how many to tell apart.
        width: of the embedding.

    The tap ``embedding`` is what leaves the first layer.
    """

    taps: Taps

    def __init__(self, channels: int, size: int, classes: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, width))
        self.classifier = nn.Linear(width, classes)
        self.taps = {"embedding": Tap("encoder"), "preactivations": (Tap("encoder"),)}

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits."""
        logits: Tensor = self.classifier(self.encoder(images))
        return logits


def mnist_mlp_1200(
    channels: int = 1, size: int = 28, classes: int = 10, dropout: float = 0.5
) -> Perceptron:
    """RRKD's MNIST teacher, 784-1200-1200-10: 2,395,210 parameters, 2,383,200 in its encoder."""
    return Perceptron(channels, size, classes, 1200, dropout)


def mnist_mlp_32(
    channels: int = 1, size: int = 28, classes: int = 10, dropout: float = 0.5
) -> Perceptron:
    """RRKD's MNIST student, 784-32-32-10: 26,506 parameters, 26,176 in its encoder."""
    return Perceptron(channels, size, classes, 32, dropout)


def mnist_ae_64(channels: int = 1, size: int = 28, dropout: float = 0.5) -> AutoEncoder:
    """RRKD's AE-64, a teacher, 784-128-64-128-784: 218,192 parameters, 108,736 in its encoder."""
    return AutoEncoder(channels, size, 128, 64, dropout)


def mnist_ae_32(channels: int = 1, size: int = 28, dropout: float = 0.5) -> AutoEncoder:
    """RRKD's AE-32, a student, 784-64-32-64-784: 105,392 parameters, 52,320 in its encoder."""
    return AutoEncoder(channels, size, 64, 32, dropout)


def mnist_linear_32(channels: int = 1, size: int = 28, classes: int = 10) -> Projection:
    """784-32-10 without a bend: 25,450 parameters, 25,120 in its encoder. What PCA can be."""
    return Projection(channels, size, classes, 32)
