import pytest
import torch

from relatum.losses.target import labelled, others, own
from relatum.types import Fault
from tests.losses.numbers import randn


def test_equal_naive_loops() -> None:
    logits, labels = randn(5, 4), torch.tensor([3, 0, 2, 1, 3])
    rest = others(logits, labels)
    assert rest.shape == (5, 3)
    for row, label, mine, remaining in zip(logits, labels, own(logits, labels), rest, strict=True):
        assert mine == row[label]
        assert remaining.tolist() == [z for c, z in enumerate(row.tolist()) if c != label]


def test_the_label_itself_gets_no_gradient_through_the_others() -> None:
    logits, labels = randn(3, 4).requires_grad_(), torch.tensor([3, 0, 2])
    others(logits, labels).logsumexp(1).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (own(logits.grad, labels) == 0).all()
    assert (others(logits.grad, labels) > 0).all()


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (torch.zeros(3, dtype=torch.long), 4, r"2 rows of logits .* shape \(3,\)"),
        (torch.zeros(2, 4, dtype=torch.long), 4, r"shape \(2, 4\)"),
        (torch.zeros(2, dtype=torch.long), 1, "there is but one class"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    labels: torch.Tensor, classes: int, message: str
) -> None:
    with pytest.raises(Fault, match=message):
        labelled("DKD", randn(2, classes), randn(2, classes), labels)
