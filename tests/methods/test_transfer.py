"""Methods that train a classifier on features that stay as they are."""

import pytest
import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.losses import CrossEntropy
from relatum.methods import METHODS, Setting, Stage
from relatum.models import create
from relatum.taps import Tap, Tapped, Taps, shapes
from relatum.types import Batch, Fault

IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.arange(6) % 4, torch.arange(6))


def setting(tapped: Tapped, classes: int | None = 4) -> Setting:
    given = shapes(tapped, IMAGES[:2])
    return Setting(given, None, "logits", None, 60, classes, student_network=tapped)


def own(name: str) -> Tapped:
    network = create(name, channels=3, size=32, classes=4)
    assert isinstance(network.taps, dict)
    return Tapped(network, network.taps)


def stage(method: str, tapped: Tapped) -> Stage:
    (only,) = METHODS[method](setting(tapped))
    return only


def trained(method: str, tapped: Tapped) -> set[str]:
    """The names of what one update changed."""
    part = stage(method, tapped)
    distiller = Distiller(tapped, None, part.objective, only=part.only, drifting=part.drifting)
    state = tapped.network.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    distiller.rest(BATCH)
    distiller.train()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, weight_decay=0.1)
    distiller.losses(BATCH).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {name for name, value in before.items() if not torch.equal(value, state[name])}


@pytest.mark.parametrize(
    ("model", "classifier"),
    [
        ("resnet8", "fc"),
        ("wrn-16-1", "fc"),
        ("vgg8", "classifier"),
        ("mobilenetv2", "classifier.0"),
        ("shufflenetv1", "linear"),
        ("mnist-mlp-32", "classifier.2"),
    ],
)
def test_the_classifier_is_found_by_what_it_reads(model: str, classifier: str) -> None:
    tapped = own(model)
    part = stage("linear", tapped)
    assert part.only == (classifier,)
    assert [type(each.loss) for each in part.objective.terms.values()] == [CrossEntropy]
    assert part.share == 1
    assert trained("linear", tapped) == {f"{classifier}.weight", f"{classifier}.bias"}


def test_drifting_moves_the_statistics_and_no_other_parameter() -> None:
    tapped = own("resnet8")
    changed = trained("linear-drifting", tapped) - {"fc.weight", "fc.bias"}
    statistics = {name for name, _ in tapped.network.named_buffers()}
    assert changed == statistics


class Drops(nn.Module):
    """As torchvision's: dropout between the embedding and the classifier."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
        linear = [nn.Linear(5, 5) for _ in range(layers - 1)]
        self.head = nn.Sequential(nn.Dropout(), *linear, nn.Linear(5, 4))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.trunk(images))
        return logits


@pytest.mark.parametrize("tap", [Tap("head.0", "input"), Tap("head", "input"), Tap("trunk")])
def test_dropout_may_stand_before_it(tap: Tap) -> None:
    assert stage("linear", Tapped(Drops(1), {"embedding": tap})).only == ("head.1",)


@pytest.mark.parametrize("method", ["linear", "linear-drifting"])
def test_what_has_no_such_classifier_is_refused(method: str) -> None:
    embeds = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    cases: list[tuple[nn.Module, Taps]] = [
        (Drops(2), {"embedding": Tap("head", "input")}),
        (embeds, {"embedding": Tap("", "output")}),
        (embeds, {}),
    ]
    for network, taps in cases:
        with pytest.raises(Fault, match=f"{method} trains the linear layer that reads"):
            stage(method, Tapped(network, taps))
    with pytest.raises(Fault, match="needs labels, and a student with logits"):
        METHODS[method](setting(own("resnet8"), classes=None))
