"""SemCKD, semantic calibration across layers (Chen et al., AAAI 2021, arXiv 2012.03236)."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from relatum import relations
from relatum.losses.connect import convolution, pooled
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar

FACTOR = 4
"""How many times shorter than a batch the queries and keys are."""


class SemCKD(nn.Module):
    r"""Match every stage of the student with those of the teacher that see the batch alike.

    .. math::
        \mathcal L = \frac{1}{B n_S} \sum_{b,i,j} \alpha_{bij} \,
        \mathrm{MSE}\big( P_{ij}(S_i^b), T_j^b \big), \qquad
        \alpha_{bi\cdot} = \sigma( \langle q_i^b, k_\cdot^b \rangle / \tau )

    The queries :math:`q_i` of the student and the keys :math:`k_j` of the teacher are unit
    vectors that a two-layer perceptron each (B to B/2 to B/4, with ReLU) makes of a sample's row
    in the Gram matrix of the batch, so **the batch has one fixed size**, and the place of a
    sample in it counts. The projector :math:`P_{ij}` is 1x1, 3x3 and 1x1 convolutions with
    BatchNorm and ReLU between them, twice as wide inside as the teacher's stage; the larger of
    two maps is average-pooled to the smaller. There is one for every pair of stages: under the
    four stages of a ResNet50 they have 0.8 billion parameters, under a resnet32x4 10 million.

    Equal to the authors' code (DefangChen/SemCKD) but for a query or key that is zero, which
    divides by zero there. Like theirs it sends gradient to the student through the attention too.

    Args:
        student_channels: of the student's stages, shallow to deep.
        teacher_channels: of the teacher's; they need not be as many.
        batch: B, the size of **every** batch, of all processes together: drop the last one.
        temperature: :math:`\tau` of the attention; 1 as published.

    Raises:
        Fault: a network has no stages, or a number is not positive, or the batch below 8.

    Example:
        >>> loss = SemCKD(student_channels=(8, 16), teacher_channels=(32,), batch=8)
        >>> student = torch.randn(8, 8, 6, 6), torch.randn(8, 16, 3, 3)
        >>> bool(loss(student, (torch.randn(8, 32, 4, 4),)) > 0)
        True
    """

    relational = True

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        batch: int,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not student_channels or not teacher_channels:
            raise Fault("SemCKD: each network needs at least one stage")
        if batch < 2 * FACTOR:
            raise Fault(
                f"SemCKD: batch must be at least {2 * FACTOR}, for queries of more than one number,"
                f" got {batch}"
            )
        if not temperature > 0:
            raise Fault(f"SemCKD: temperature must be positive, got {temperature}")
        self.batch = batch
        self.temperature = temperature
        self.queries = nn.ModuleList(_embedder(batch) for _ in student_channels)
        self.keys = nn.ModuleList(_embedder(batch) for _ in teacher_channels)
        self.projectors = nn.ModuleList(
            nn.ModuleList(_projector(entering, leaving) for leaving in teacher_channels)
            for entering in student_channels
        )

    def extra_repr(self) -> str:
        """Its settings."""
        return f"batch={self.batch}, temperature={self.temperature}"

    @exact
    def forward(
        self,
        student: FeatureMap | tuple[FeatureMap, ...],
        teacher: FeatureMap | tuple[FeatureMap, ...],
    ) -> Scalar:
        """Maps (B, channels, height, width), one for each stage, to a scalar.

        Raises:
            Fault: a batch is not of the size, or the stages are not as many as it was built for.
        """
        students = (student,) if isinstance(student, Tensor) else tuple(student)
        teachers = (teacher,) if isinstance(teacher, Tensor) else tuple(teacher)
        teachers = tuple(maps.detach() for maps in teachers)
        self._check(students, teachers)
        query_BIE = _embedded(self.queries, students)
        key_BJE = _embedded(self.keys, teachers)
        attention_BIJ = torch.softmax(query_BIE @ key_BJE.mT / self.temperature, dim=2)
        apart_BIJ = torch.stack(
            [
                torch.stack(
                    [_apart(projector, s, t) for projector, t in zip(row, teachers, strict=True)], 1
                )
                for row, s in zip(self._rows(), students, strict=True)
            ],
            1,
        )
        return (attention_BIJ * apart_BIJ).sum(2).mean()

    def _rows(self) -> list[nn.ModuleList]:
        return [row for row in self.projectors if isinstance(row, nn.ModuleList)]

    def _check(self, students: tuple[FeatureMap, ...], teachers: tuple[FeatureMap, ...]) -> None:
        built, got = (len(self.queries), len(self.keys)), (len(students), len(teachers))
        if built != got:
            raise Fault(f"SemCKD was built for {built} stages of student and teacher, got {got}")
        for maps in chain(students, teachers):
            if len(maps) != self.batch:
                raise Fault(
                    f"SemCKD was built for batches of {self.batch}, got one of {len(maps)}: give"
                    " its size as batch, and drop a last batch that is shorter"
                )


def _embedder(batch: int) -> nn.Sequential:
    short = batch // FACTOR
    return nn.Sequential(nn.Linear(batch, 2 * short), nn.ReLU(), nn.Linear(2 * short, short))


def _projector(entering: int, leaving: int) -> nn.Sequential:
    middle = 2 * leaving
    return nn.Sequential(
        convolution(entering, middle, relu=True),
        convolution(middle, middle, kernel=3, relu=True),
        nn.Conv2d(middle, leaving, 1, bias=False),
    )


def _embedded(embedders: nn.ModuleList, stages: tuple[FeatureMap, ...]) -> Tensor:
    """A unit vector (batch, stage, ...) for each sample and stage."""
    pairs = zip(embedders, stages, strict=True)
    return relations.unit(torch.stack([own(relations.gram(maps)) for own, maps in pairs], 1))


def _apart(projector: nn.Module, student: FeatureMap, teacher: FeatureMap) -> Tensor:
    """The mean squared difference of each sample."""
    smaller, goal = pooled(student, teacher)
    apart: Tensor = projector(smaller) - goal
    return apart.square().flatten(1).mean(1)
