"""Rankings against naive loops and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from relatum.evaluate import Gallery, ranking, retrieval
from relatum.types import Fault


def clouds(samples: int = 90, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping classes of unequal size."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 6, generator=generator)
    labels = (torch.rand(samples, generator=generator).square() * classes).long()
    return centres[labels] + torch.randn(samples, 6, generator=generator), labels


def naive(
    rows: Tensor, labels: Tensor, cameras: Tensor | None = None
) -> tuple[float, float, list[float]]:
    """Every ranking written out: others first where they are equally near."""
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    whole, first, near = [], [], []
    for query in range(len(rows)):
        order = []
        for other in range(len(rows)):
            same = bool(labels[other] == labels[query])
            seen = cameras is not None and bool(cameras[other] == cameras[query])
            if other != query and not (same and seen):
                order.append((-round(float(unit[query] @ unit[other]), 9), same))
        hits = [same for _, same in sorted(order)]
        wanted = sum(hits)
        if not wanted:
            continue
        precisions = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits) if hit]
        early = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits[:wanted]) if hit]
        whole.append(sum(precisions) / wanted)
        first.append(sum(early) / wanted)
        near.append([any(hits[:k]) for k in range(1, 11)])
    share = (100 * np.array(near).mean(0)).tolist()
    return 100 * float(np.mean(whole)), 100 * float(np.mean(first)), share


@pytest.mark.parametrize("block", [2**22, 200])
def test_leave_one_out_equals_naive_loops(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK", block)
    rows, labels = clouds()
    found = retrieval(rows, labels)
    whole, first, near = naive(rows, labels)
    assert found.mean_average_precision == pytest.approx(whole)
    assert found.mean_average_precision_at_r == pytest.approx(first)
    assert found.matches == pytest.approx(near)
    assert found.queries == len(labels)
    assert 30 < first < whole < found.recall(1) < found.recall(5) <= found.recall(10)


def test_average_precision_is_that_of_scikit_learn() -> None:
    rows, labels = clouds(seed=3)
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2).double()
    asked = []
    for query in range(len(rows)):
        others = torch.arange(len(rows)) != query
        right = labels[others] == labels[query]
        asked.append(average_precision_score(right.numpy(), cosine[query, others].numpy()))
    found = retrieval(rows, labels).mean_average_precision
    assert found == pytest.approx(100 * float(np.mean(asked)), rel=1e-6)


def test_others_come_first_where_all_are_equally_near() -> None:
    """Whole numbers of one direction have cosines that are equal to the bit."""
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    rows = torch.tensor([[2.0**power, 0.0] for power in range(6)])
    found = retrieval(rows, labels)
    whole, first, near = naive(rows, labels)
    assert found.queries == 5  # the last one's class is nowhere else
    assert found.mean_average_precision == pytest.approx(whole)
    assert found.mean_average_precision_at_r == pytest.approx(first) == 0.0
    assert found.matches == pytest.approx(near)
    order = torch.tensor([3, 5, 0, 4, 2, 1])
    assert retrieval(rows[order], labels[order]) == found


def test_some_ties_below_zero_and_at_zero() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    labels = torch.tensor([0, 1, 0, 0, 1, 1])
    found = retrieval(rows, labels)
    whole, _, near = naive(rows, labels)
    assert found.mean_average_precision == pytest.approx(whole)
    assert found.matches == pytest.approx(near)


def test_a_gallery_of_its_own_with_cameras_and_junk() -> None:
    rows, labels = clouds(60, seed=5)
    cameras = torch.arange(60) % 3
    own = retrieval(rows, labels, cameras=cameras)
    whole, first, near = naive(rows, labels, cameras)
    assert own.mean_average_precision == pytest.approx(whole)
    assert own.mean_average_precision_at_r == pytest.approx(first)
    assert own.matches == pytest.approx(near)
    # a query's own picture has its camera, so it is left out of a gallery that holds it
    junk = torch.cat([rows, rows[:7]]), torch.cat([labels, torch.full((7,), -1)])
    searched = Gallery(*junk, cameras=torch.cat([cameras, cameras[:7]]))
    assert retrieval(rows, labels, searched, cameras=cameras) == own


def test_recall_stops_where_the_gallery_does() -> None:
    found = retrieval(torch.eye(3), torch.tensor([0, 0, 1]))
    assert found.recall(10) == found.recall(2) == 100.0
    assert len(found.matches) == 10


def test_neither_scale_nor_rotation_matters_and_order_neither() -> None:
    rows, labels = clouds()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    found = retrieval((7 * rows @ turn)[order], labels[order])
    assert found.mean_average_precision == pytest.approx(
        retrieval(rows, labels).mean_average_precision, abs=1e-3
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows, labels: (rows, labels[1:]), "label for each query"),
        (lambda rows, labels: (rows * torch.nan, labels), "NaN"),
        (lambda rows, labels: (rows, torch.arange(len(rows))), "every class alone"),
        (lambda rows, labels: (rows, labels, Gallery(rows[:, 1:], labels)), "one shape"),
        (lambda rows, labels: (rows, labels, Gallery(rows, labels, labels)), "cameras of both"),
        (lambda rows, labels: (rows[:0], labels[:0]), "at least one"),
    ],
)
def test_what_cannot_be_ranked_is_refused(change, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Fault, match=says):
        retrieval(*change(*clouds(20)))
