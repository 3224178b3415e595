"""Several teachers together: their cosines and their probabilities are weighted means."""

import pytest
import torch
from torch import Tensor

from relatum import relations
from relatum.distiller import Distiller
from relatum.losses import KD, RRKD, RKDDistance
from relatum.objective import Objective, Term
from relatum.several import Teachers, joint_embedding, joint_logits, numbered, shares_of
from relatum.tables import EmbeddingTable
from relatum.types import Batch, Fault
from tests import toys


def made(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_cosines_are_the_weighted_mean_of_theirs(kind: torch.dtype) -> None:
    own = tuple(made(30, width, seed=width).to(kind) for width in (7, 64, 3))
    shares = shares_of((1, 2, 5))
    joint = joint_embedding(own, shares)
    assert joint.shape == (30, 74)
    wanted = sum(
        share * relations.cosine(each.double()) for share, each in zip(shares, own, strict=True)
    )
    gram = relations.gram(joint.double())
    torch.testing.assert_close(gram, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(relations.cosine(joint.double()), wanted, atol=1e-6, rtol=0)


def test_probabilities_are_the_weighted_mean_of_theirs() -> None:
    own, shares = (made(9, 4), 5 * made(9, 4, seed=1)), shares_of((1, 3))
    mean = sum(share * each.softmax(1) for share, each in zip(shares, own, strict=True))
    torch.testing.assert_close(joint_logits(own, shares).softmax(1), mean)
    extreme = torch.tensor([[1e4, -1e4]])
    assert joint_logits((extreme, -extreme), (0.5, 0.5)).isfinite().all()


def test_networks_and_tables_speak_together() -> None:
    table = EmbeddingTable(made(21, 9), made(21, toys.CLASSES))
    live = toys.teacher()
    both = Teachers(live, table, weights=(3, 1), same_classes=True).train()
    assert both.shares == (0.75, 0.25)
    assert both.taps == {"embedding", "embedding_1", "embedding_2", "output"}
    assert not any(module.training for module in both.modules())
    batch = next(toys.batches().epoch(1))
    said, first, second = both(batch), live(batch), table(batch)
    for name, own in (("embedding_1", first), ("embedding_2", second)):
        torch.testing.assert_close(said.taps[name], own.taps["embedding"], atol=0, rtol=0)
    torch.testing.assert_close(
        said.output.exp(), 0.75 * first.output.softmax(1) + 0.25 * second.output.softmax(1)
    )
    assert not said.output.requires_grad


def test_a_student_learns_from_both() -> None:
    both = Teachers(toys.teacher(), EmbeddingTable(made(21, 9)))
    objective = Objective(
        rrkd=Term(RRKD(), on="embedding"),
        first=Term(RKDDistance(), on="embedding", teacher_on=numbered(1)),
        second=Term(RKDDistance(), on="embedding", teacher_on=numbered(2)),
    )
    distiller = Distiller(toys.student(), both, objective)
    losses = distiller.losses(next(toys.batches().epoch(1)))
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert set(losses.parts) == {"rrkd", "first", "second"}
    assert losses.parts["first"] != losses.parts["second"]
    with pytest.raises(
        Fault, match="reads output of the teacher, whose taps: embedding, embedding_1"
    ):
        Distiller(toys.student(), both, Objective(kd=Term(KD())))


def test_anchors_want_networks_alone() -> None:
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    anchors = torch.rand(4, 1, 6, 6)
    both = Teachers(toys.teacher(), toys.teacher(2, width=3))
    distiller = Distiller(toys.student(), both, objective, anchors=anchors)
    taught = distiller.taught_anchors()
    assert taught is not None
    value = taught.taps["embedding"]
    assert isinstance(value, Tensor)
    assert value.shape == (4, 9)
    mixed = Teachers(toys.teacher(), EmbeddingTable(made(21, 9)))
    with pytest.raises(Fault, match="anchors need a live teacher"):
        Distiller(toys.student(), mixed, objective, anchors=anchors)
    with pytest.raises(Fault, match="a table says nothing of images that are not of its set"):
        mixed.encode(anchors)


def test_what_cannot_teach_together_is_refused() -> None:
    table, logits = EmbeddingTable(made(21, 9)), EmbeddingTable(logits=made(21, 3))
    with pytest.raises(Fault, match="two at least, and have a weight each: got 1"):
        Teachers(table)
    with pytest.raises(Fault, match="got 2 and 1 weights"):
        Teachers(table, table, weights=(1.0,))
    with pytest.raises(Fault, match=r"numbers over 0, got 1, -1"):
        Teachers(table, table, weights=(1, -1))
    assert Teachers(table, table, weights=(1e308, 1e308)).shares == (0.5, 0.5)
    with pytest.raises(Fault, match=r"that can be compared, got 1e\+300, 1e-300"):
        Teachers(table, table, weights=(1e300, 1e-300))
    with pytest.raises(Fault, match="have nothing in common"):
        Teachers(table, logits)
    with pytest.raises(Fault, match="a table without logits says no classes"):
        Teachers(table, logits, same_classes=True)
    together = Teachers(logits, logits, same_classes=True)
    assert together.taps == {"output"}
    batch = Batch(torch.rand(2, 1, 6, 6), None, torch.tensor([1, 2]))
    torch.testing.assert_close(
        together(batch).output, logits(batch).output.log_softmax(1), atol=1e-6, rtol=0
    )
