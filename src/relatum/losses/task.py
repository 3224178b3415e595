"""The task itself: what a student is taught without any teacher."""

import torch.nn.functional as F
from torch import nn

from relatum.divergences import squared
from relatum.precision import exact
from relatum.types import Fault, Images, Labels, Logits, Scalar


class CrossEntropy(nn.Module):
    r"""Cross-entropy with the labels, :math:`-\log \sigma(z)_y`, the mean over the batch.

    Equal to ``torch.nn.functional.cross_entropy``, in float32 or better.

    Args:
        label_smoothing: share of the target that is spread over all classes; 0 (the default)
            as in the benchmark's protocol.

    Example:
        >>> import torch
        >>> CrossEntropy()(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor(0.6931)
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise Fault(f"label_smoothing lies in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def extra_repr(self) -> str:
        """Its setting."""
        return f"label_smoothing={self.label_smoothing}"

    @exact
    def forward(self, student: Logits, labels: Labels) -> Scalar:
        """Logits (B, classes) and labels (B,) to a scalar.

        Raises:
            Fault: the batches differ.
        """
        if len(student) != len(labels):
            raise Fault(f"CrossEntropy: {len(student)} rows of logits, {len(labels)} labels")
        return F.cross_entropy(student, labels, label_smoothing=self.label_smoothing)


class Reconstruction(nn.Module):
    r"""Mean squared error of an auto-encoder, :math:`\|\hat x - x\|^2` per pixel.

    ``images`` is what the student was given, normalised as it wants it, so that a Tanh output
    meets pixels in [-1, 1]. Equal to ``torch.nn.functional.mse_loss``, in float32 or better.
    """

    @exact
    def forward(self, student: Images, images: Images) -> Scalar:
        """Reconstructions and images of one shape to a scalar."""
        return squared(student, images)
