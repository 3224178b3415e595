"""SP, similarity-preserving distillation (Tung & Mori, ICCV 2019, arXiv 1907.09682)."""

import torch
from torch import Tensor, nn

from relatum import blocks, relations
from relatum.divergences import same_samples, squared
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class SP(nn.Module):
    r"""Match which samples of a batch are alike to each network.

    .. math::
        \mathcal L_{SP} = \frac{1}{B^2} \sum_{(l, l')} \| G_T^{(l)} - G_S^{(l')} \|_F^2,
        \qquad G = \mathrm{rows\ of}\ Q Q^\top\ \mathrm{scaled\ to\ unit\ } L_2

    where Q holds the flattened activations of the batch (equations 1 to 4 of the paper). The
    rows of the *product* are normalised, not the features. Since they are unit vectors,
    :math:`\mathcal L_{SP} = \frac{2}{B} (1 - \overline{\cos})`: the mean cosine of every
    sample's row in one network with its row in the other.

    So at equal weight SP shrinks as the batch grows: the papers' weight 3000 counts 93.75 on
    :math:`1 - \overline{\cos}` at B = 64 and 46.9 at B = 128. ``batch_invariant=True`` gives
    :math:`1 - \overline{\cos}` itself, with weight :math:`2 \gamma / B`.

    Differs from RepDistiller's and the authors' recommended code in nothing but the edges: a
    sample whose map is all zero sends no gradient through its own row (theirs sends one some
    1e12 times too large), and half precision is raised to float32, since a Gram entry of a
    usual feature map overflows float16. (torchdistill normalises rows with the L1 norm; the
    rrkd notebook's "SP" reads pooled vectors.)

    Args:
        batch_invariant: make the value independent of the batch size.

    Example:
        >>> student, teacher = torch.randn(8, 16, 4, 4), torch.randn(8, 64, 2, 2)
        >>> bool(SP()(student, teacher) > 0), SP()(teacher, teacher)
        (True, tensor(0.))
    """

    relational = True

    def __init__(self, batch_invariant: bool = False) -> None:
        super().__init__()
        self.batch_invariant = batch_invariant

    def extra_repr(self) -> str:
        """Its setting."""
        return f"batch_invariant={self.batch_invariant}"

    def forward(
        self,
        student: FeatureMap | tuple[FeatureMap, ...],
        teacher: FeatureMap | tuple[FeatureMap, ...],
    ) -> Scalar:
        """Maps (B, ...) of any shapes to a scalar; tuples, one for each layer pair, are summed.

        Raises:
            Fault: the batches differ, or the tuples' lengths do.
        """
        students = (student,) if isinstance(student, Tensor) else tuple(student)
        teachers = (teacher,) if isinstance(teacher, Tensor) else tuple(teacher)
        if len(students) != len(teachers):
            raise Fault(
                f"SP pairs layers one to one: got {len(students)} of the student and"
                f" {len(teachers)} of the teacher"
            )
        pairs = zip(students, teachers, strict=True)
        losses = [_layer(s, t.detach()) for s, t in pairs]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        return loss * len(students[0]) / 2 if self.batch_invariant else loss


def _layer(student: FeatureMap, teacher: FeatureMap) -> Scalar:
    same_samples("SP", student, teacher)
    if blocks.fit(len(student), len(student)):
        return _apart(student, teacher, student, teacher)
    return _in_blocks(student, teacher)


@exact  # once for all blocks, each of which needs all samples
def _in_blocks(student: FeatureMap, teacher: FeatureMap) -> Scalar:
    pair = (student, teacher)
    return blocks.mean(_apart, len(student), pair, pair)


def _apart(
    student_rows: FeatureMap, teacher_rows: FeatureMap, student: FeatureMap, teacher: FeatureMap
) -> Scalar:
    return squared(_similarity(student_rows, student), _similarity(teacher_rows, teacher))


def _similarity(rows: FeatureMap, features: FeatureMap) -> relations.Relation:
    return relations.unit(relations.gram(rows, features))
