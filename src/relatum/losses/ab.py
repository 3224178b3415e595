"""AB, activation boundaries (Heo et al., AAAI 2019, arXiv 1811.03233)."""

import torch
from torch import nn

from relatum.divergences import same, squares
from relatum.losses.connect import Maps, Shapes, connector, paired
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class AB(nn.Module):
    r"""Put each neuron of the student on the side of zero on which the teacher's is.

    .. math::
        \mathcal L_{AB} = \frac{3}{1000 B} \sum_{i=1}^n 2^{i-n} \sum_{x \in M^i}
        (s_x + m)^2 \, [s_x > -m, \; t_x \le 0] + (s_x - m)^2 \, [s_x \le m, \; t_x > 0]

    over the maps of n stages **before** their ReLU, shallow to deep: a squared hinge with
    margin m, which tells the student whether a neuron fires, not how strongly. Where the
    student's map has another shape than the teacher's, a convolution with BatchNorm connects
    them. It initialises a student: a second stage of training goes without.

    Equal to RepDistiller's code, but for the bias of a connector's convolution, which BatchNorm
    takes away again.

    Args:
        student_shapes: channels, height and width of the student's maps, shallow to deep.
            ``None`` where they already have the teacher's shapes.
        teacher_shapes: likewise of the teacher's.
        margin: m; 1 as in the benchmark.

    Raises:
        Fault: the shapes do not go together, or the margin is not positive; in ``forward``,
            the networks differ in stages, shapes or samples.

    Example:
        >>> loss = AB(student_shapes=((8, 4, 4),), teacher_shapes=((32, 4, 4),))
        >>> bool(loss((torch.randn(2, 8, 4, 4),), (torch.randn(2, 32, 4, 4),)) > 0)
        True
    """

    relational = True  # BatchNorm sees the batch

    def __init__(
        self,
        student_shapes: Shapes | None = None,
        teacher_shapes: Shapes | None = None,
        margin: float = 1.0,
    ) -> None:
        super().__init__()
        if not margin > 0:
            raise Fault(f"AB: margin must be positive, got {margin}")
        self.margin = margin
        students, teachers = student_shapes or (), teacher_shapes or ()
        if len(students) != len(teachers):
            raise Fault(
                f"AB: give shapes of as many maps of both networks, got {len(students)} of the"
                f" student and {len(teachers)} of the teacher"
            )
        self.connectors = nn.ModuleList(
            nn.Identity() if tuple(each) == tuple(other) else connector(each, other, relu=False)
            for each, other in zip(students, teachers, strict=True)
        )

    def extra_repr(self) -> str:
        """Its setting."""
        return f"margin={self.margin}"

    @exact
    def forward(self, student: Maps, teacher: Maps) -> Scalar:
        """Maps (B, C, H, W) of both networks before their ReLU, a tuple of stages, to a scalar."""
        pairs = paired("AB", student, teacher)
        connectors = list(self.connectors) or [nn.Identity()] * len(pairs)
        if len(connectors) != len(pairs):
            raise Fault(f"AB was built for {len(connectors)} stages, got {len(pairs)}")
        losses = torch.stack(
            [
                self._hinge(connect(each), other) / 2 ** (len(pairs) - place)
                for place, (connect, (each, other)) in enumerate(
                    zip(connectors, pairs, strict=True), start=1
                )
            ]
        )
        return losses.sum() * (3 / (1000 * len(pairs[0][0])))

    def _hinge(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """How far the student is from the right side of zero by a margin, squared and summed."""
        same(student, teacher)
        side = torch.where(teacher > 0, 1.0, -1.0).to(student.dtype)
        return squares((self.margin - side * student).relu())
