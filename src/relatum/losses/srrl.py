"""SRRL, softmax regression representation learning (Yang et al., ICLR 2021)."""

import torch
from torch import Tensor, nn

from relatum.divergences import same_samples, squared
from relatum.losses.connect import convolution
from relatum.precision import exact
from relatum.types import Fault, FeatureMap, Scalar


class SRRL(nn.Module):
    r"""Match the teacher's embedding, and what the teacher's classifier makes of it.

    .. math::
        \mathcal L = w_f \, \frac{1}{BD} \| u - f_T \|_2^2
        + w_l \, \frac{1}{BK} \| W_T u - W_T f_T \|_2^2

    where u is the student's map behind a 1x1 convolution without bias, BatchNorm and ReLU, averaged
    over its pixels; :math:`f_T` is the teacher's embedding and :math:`W_T` its classifier for K
    classes, which does not learn here.

    Equal to the authors' code (jingyang2017/KD_SRRL), which connects the map; DefangChen/SimKD's
    connects the pooled vector instead, as a ``student`` of vectors does here. The two need not
    have one size, for only their means are compared.

    Args:
        classifier: the teacher's last linear layer; a frozen copy of it is kept.
        student_channels: of the student's map, or the width of its vector; ``None`` if it has
            the teacher's already, and needs no convolution.
        feature_weight: of the first sum; 1 as the authors have it.
        logit_weight: of the second; 1 as the authors have it (5 in yzd-v/cls_KD).

    Raises:
        Fault: the classifier is no linear layer, a weight is negative, or a map has no channels.

    Example:
        >>> loss = SRRL(nn.Linear(64, 10), student_channels=16)
        >>> bool(loss(torch.randn(8, 16, 4, 4), torch.randn(8, 64)) > 0)
        True
    """

    relational = True  # by its BatchNorm

    def __init__(
        self,
        classifier: nn.Linear,
        student_channels: int | None = None,
        feature_weight: float = 1.0,
        logit_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(classifier, nn.Linear):
            kind = type(classifier).__name__
            raise Fault(f"SRRL: the teacher's classifier must be an nn.Linear, got {kind}")
        for name, weight in (("feature_weight", feature_weight), ("logit_weight", logit_weight)):
            if not weight >= 0:
                raise Fault(f"SRRL: {name} must not be negative, got {weight}")
        self.feature_weight = feature_weight
        self.logit_weight = logit_weight
        self.teacher_classifier = _frozen(classifier)
        self.head = nn.Sequential()
        if student_channels is not None:
            self.head = convolution(student_channels, classifier.in_features, relu=True)
            projection = self.head.get_parameter("0.weight")
            nn.init.kaiming_normal_(projection, mode="fan_out", nonlinearity="relu")

    def extra_repr(self) -> str:
        """Its settings."""
        return f"feature_weight={self.feature_weight}, logit_weight={self.logit_weight}"

    @exact
    def forward(self, student: FeatureMap, teacher: FeatureMap) -> Scalar:
        """The student's map or vector and the teacher's (B, channels, ...) to a scalar.

        Raises:
            Fault: the batches differ, or the teacher's channels are not what its classifier
                reads, or there is one sample of one pixel, which has no variance to normalise by.
        """
        width = self.teacher_classifier.in_features
        same_samples("SRRL", student, teacher)
        if teacher.shape[1] != width:
            raise Fault(
                f"SRRL: the teacher's classifier reads {width} features, got {teacher.shape[1]};"
                " tap what enters it"
            )
        maps = student[..., None, None] if student.ndim == 2 else student
        if self.training and self.head and maps.shape[0] * maps.shape[2:].numel() < 2:
            raise Fault("SRRL: BatchNorm needs two samples of a vector, got one")
        student_BD, teacher_BD = _mean(self.head(maps)), _mean(teacher.detach())
        feature = squared(student_BD, teacher_BD)
        logits = self.teacher_classifier(student_BD), self.teacher_classifier(teacher_BD)
        return self.feature_weight * feature + self.logit_weight * squared(*logits)


def _mean(maps: FeatureMap) -> Tensor:
    return maps.flatten(2).mean(2) if maps.ndim > 2 else maps


def _frozen(classifier: nn.Linear) -> nn.Linear:
    """A copy that does not learn, and that nobody's hooks listen to."""
    own = nn.Linear(
        classifier.in_features,
        classifier.out_features,
        classifier.bias is not None,
        device=classifier.weight.device,
        dtype=torch.promote_types(classifier.weight.dtype, torch.float32),
    )
    own.load_state_dict(classifier.state_dict())
    return own.requires_grad_(False)
