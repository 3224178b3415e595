"""SimKD's student: its own trunk, a projector, the teacher's classifier (Chen et al., CVPR 2022).

What is evaluated, saved and deployed after SimKD is this network, which needs no teacher to run:
the student as far as its last feature map, a projector to the teacher's last map (1x1, 3x3 and 1x1
convolutions with batch norm and ReLU), the mean over its pixels, and a frozen copy of the layer
that turns the teacher's embedding into logits. ``models.create`` makes it again, without weights,
by the name ``simkd(STUDENT,TEACHER)``.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import torch
from torch import Size, Tensor, nn

from relatum.discovery import find_classifier, find_taps
from relatum.taps import Tap, Tapped, Taps, at_rest, shapes
from relatum.types import Fault, Images, Logits, Shapes

Shape = tuple[int, ...]
"""Channels, height and width: a map's shape without the batch axis."""
HALVINGS = 7
"""How often a network may halve its images, where we make some up for it."""


class SimKDStudent(nn.Module):
    """A student's trunk, a projector and a teacher's classifier: from images to logits.

    Differs from the authors' code (DefangChen/SimKD) in that the layers behind the student's last
    map, its own classifier above all, are left out: there they are kept, and never learn.

    Taps: ``maps`` (what leaves the projector, after its ReLU) and ``embedding`` (the mean of that
    over its pixels, which enters the teacher's classifier).

    Args:
        student: the network that learns; a copy is kept.
        maps: its last feature map.
        student_shape: channels, height and width of that map.
        teacher_shape: likewise of the teacher's map whose mean its classifier reads. Where the
            student's map is larger, it is average-pooled to this height and width.
        classifier: the teacher's last linear layer; a frozen copy is kept.
        factor: how many times narrower than the teacher's map the projector is inside; 2 as
            published.

    Raises:
        Fault: a shape is none of a map, the classifier reads something else than the teacher's
            map, or the factor leaves no channels.

    Example:
        >>> student = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))
        >>> network = SimKDStudent(student, Tap("0"), (4, 6, 6), (8, 3, 3), nn.Linear(8, 10))
        >>> network(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    taps: Taps

    def __init__(
        self,
        student: nn.Module,
        maps: Tap,
        student_shape: Shape,
        teacher_shape: Shape,
        classifier: nn.Linear,
        factor: int = 2,
    ) -> None:
        super().__init__()
        _check(student_shape, teacher_shape, classifier, factor)
        entering, leaving = student_shape[0], teacher_shape[0]
        size = tuple(map(min, student_shape[1:], teacher_shape[1:]))
        self.trunk = Tapped(_as_far_as(student, maps, student_shape), {"maps": maps})
        larger = size != tuple(student_shape[1:])
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(size) if larger else nn.Identity()
        self.projector = _projector(entering, leaving // factor, leaving)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(leaving, classifier.out_features, classifier.bias is not None)
        self.fc.load_state_dict(classifier.state_dict())
        self.fc.requires_grad_(False)
        self.taps = {"embedding": Tap("fc", "input"), "maps": Tap("projector")}

    def forward(self, images: Images) -> Logits:
        """Images, normalised, to logits over the teacher's classes."""
        maps = self.trunk.read(images).read("maps")
        maps = self.projector(self.pool(maps))
        logits: Tensor = self.fc(self.flatten(self.avgpool(maps)))
        return logits


def joined(student: nn.Module, teacher: nn.Module, images: Images) -> SimKDStudent:
    """The network that SimKD would train, of two networks as they are.

    Args:
        student: the one that gives its trunk.
        teacher: the one that gives its classifier.
        images: some, prepared, of the size that both shall see.

    Raises:
        Fault: the student has no feature map, or the teacher no classifier that reads one.
    """
    student_taps, teacher_taps = find_taps(student, images), find_taps(teacher, images)
    maps = student_map(student_taps)
    path = find_classifier(teacher, teacher_taps, directly=True)
    classifier = None if path is None else teacher.get_submodule(path)
    if not isinstance(classifier, nn.Linear):
        raise Fault(
            "simkd: the teacher does not end in one linear layer that reads its embedding, which it"
            " could hand on"
        )
    with _tapped(student, student_taps) as tapped:
        student_shape = _shape(shapes(tapped, images), "maps")
    with _tapped(teacher, teacher_taps) as tapped:
        given = shapes(tapped, images)
    teacher_shape = _shape(given, classified_map(teacher, teacher_taps, given))
    return SimKDStudent(student, maps, student_shape, teacher_shape, classifier)


def student_map(taps: Taps) -> Tap:
    """Where a student's last feature map is.

    Raises:
        Fault: it has none.
    """
    maps = taps.get("maps")
    if not isinstance(maps, Tap):
        has = ", ".join(taps) or "none"
        raise Fault(f"simkd builds on the student's last feature map, 'maps'; its taps: {has}")
    return maps


def classified_map(network: nn.Module, taps: Taps, given: Shapes) -> str:
    """Which tap of a network gives the map whose mean over its pixels enters its classifier.

    Usually ``maps``. Where a batch norm or a convolution lies between that and the classifier,
    as in WRN and MobileNetV2, it is another tap, if there is one: each is tried on images of
    noise, with the network at rest.

    Args:
        network: a classifier.
        taps: its own.
        given: the shape of what each gives.

    Raises:
        Fault: no tap is such a map.
    """
    width = given.get("embedding", Size())[-1:]
    fitting = [
        name
        for name in sorted(taps, key=lambda name: name != "maps")
        if isinstance(taps[name], Tap) and len(given[name]) == 4 and given[name][1:2] == width
    ]
    for name in fitting:
        tap = taps[name]
        assert isinstance(tap, Tap)
        images = _images_for(network, tap, _shape(given, name))
        if images is None and name == "maps":
            return name  # nothing to try it on: its channels fit
        if images is None:
            continue
        with _tapped(network, {"map": tap, "embedding": taps["embedding"]}) as tapped:
            said = tapped.read(images)
        maps, embedding = said.read("map"), said.read("embedding")
        assert isinstance(maps, Tensor)
        assert isinstance(embedding, Tensor)
        mean = maps.mean((2, 3))
        if (mean - embedding).norm() <= 1e-3 * embedding.norm():
            return name
    raise Fault(
        "simkd needs a teacher whose classifier reads the mean of a feature map that a tap gives;"
        f" this one's reads {next(iter(width), 'no')} features of another kind (taps: "
        f"{', '.join(taps) or 'none'})"
    )


def _check(student: Shape, teacher: Shape, classifier: nn.Linear, factor: int) -> None:
    for shape in (student, teacher):
        if len(shape) != 3 or not all(size > 0 for size in shape):
            raise Fault(f"simkd: a map's shape is (channels, height, width), got {tuple(shape)}")
    if classifier.in_features != teacher[0]:
        raise Fault(
            f"simkd: the teacher's classifier reads {classifier.in_features} features, and its map"
            f" has {teacher[0]} channels: choose a teacher whose classifier reads its map's mean"
        )
    if not 1 <= factor <= teacher[0]:
        raise Fault(
            f"simkd: factor lies between 1 and the map's {teacher[0]} channels, got {factor}"
        )


def _projector(entering: int, middle: int, leaving: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    widths = (entering, middle, middle, leaving)
    for (before, after), kernel in zip(pairwise(widths), (1, 3, 1), strict=True):
        layers.append(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False))
        layers.extend((nn.BatchNorm2d(after), nn.ReLU()))
    return nn.Sequential(*layers)


def _as_far_as(student: nn.Module, maps: Tap, shape: Shape) -> nn.Module:
    """A copy of a network without the layers that have not run when its map is there.

    They would be saved and counted for nothing. In each one's place is an identity, so that the
    forward pass still ends. Where it does not, or no images can be made up, all is kept.
    """
    trunk = copy.deepcopy(student)
    images = _images_for(trunk, maps, shape)
    if images is None:
        return trunk
    before = _run(trunk, maps, images)
    for path in _behind(trunk, maps, images):
        trunk.set_submodule(path, nn.Identity())
    with suppress(Exception):  # somebody's code may ask anything of the layer that is gone
        if torch.equal(_run(trunk, maps, images), before):
            return trunk
    return copy.deepcopy(student)


_THERE = "."  # no module's path


def _behind(network: nn.Module, maps: Tap, images: Images) -> list[str]:
    """The outermost modules with weights of which no part has run when the map is there."""
    ran: list[str] = []

    hooks = [
        module.register_forward_pre_hook(lambda *_, path=path: ran.append(path))
        for path, module in network.named_modules()
    ]
    end = network.get_submodule(maps.path)
    if maps.at == "input":
        hooks.append(end.register_forward_pre_hook(lambda *_: ran.append(_THERE), prepend=True))
    else:
        hooks.append(end.register_forward_hook(lambda *_: ran.append(_THERE)))
    with at_rest(network):
        network(images)
    for hook in hooks:
        hook.remove()
    before = ran[: ran.index(_THERE)]
    behind: list[str] = []
    for path, module in network.named_modules():
        within = any(path.startswith(f"{each}.") for each in behind)
        touched = any(f"{each}.".startswith(f"{path}.") for each in before)
        if path and module.state_dict() and not within and not touched:
            behind.append(path)
    return behind


def _images_for(network: nn.Module, maps: Tap, shape: Shape) -> Images | None:
    """Noise of a size from which a network makes a map of this shape, if we can guess one."""
    first = next((each for each in network.modules() if isinstance(each, nn.Conv2d)), None)
    if first is None:
        return None
    generator = torch.Generator().manual_seed(0)  # the process's randomness stays as it was
    for halvings in range(HALVINGS):
        size = (2, first.in_channels, *(side << halvings for side in shape[1:]))
        images = torch.randn(size, generator=generator).to(first.weight)
        with suppress(Exception):  # a size that this network does not take
            if _run(network, maps, images).shape[1:] == shape:
                return images
    return None


def _run(network: nn.Module, maps: Tap, images: Images) -> Tensor:
    with _tapped(network, {"maps": maps}) as tapped:
        value = tapped.read(images).read("maps")
    assert isinstance(value, Tensor)
    return value


def _shape(given: Shapes, name: str) -> Shape:
    """Of one tap's map, without the batch."""
    value = given[name]
    assert isinstance(value, Size)
    return tuple(value[1:])


@contextmanager
def _tapped(network: nn.Module, taps: Taps) -> Iterator[Tapped]:
    """A network at rest, tapped for a while."""
    tapped = Tapped(network, taps)
    try:
        with at_rest(network):
            yield tapped
    finally:
        tapped.only(set())
