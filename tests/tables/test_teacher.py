"""A table in a teacher's place: read by index, whatever the images show."""

import pytest
import torch
from torch import Tensor

from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, RRKD, SP
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.tables import EmbeddingTable, Rows
from relatum.types import Batch, Fault
from tests import toys

ROWS = torch.randn(21, 5, generator=torch.Generator().manual_seed(0))
LOGITS = torch.randn(21, 3, generator=torch.Generator().manual_seed(1))


def asked(table: EmbeddingTable, indices: list[int], view: int = 0) -> Tensor:
    batch = Batch(torch.zeros(len(indices), 1, 6, 6), None, torch.tensor(indices), view)
    value = table(batch).taps["embedding"]
    assert isinstance(value, Tensor)
    return value


def test_it_says_the_rows_of_samples_in_any_view() -> None:
    table = EmbeddingTable(ROWS, LOGITS)
    assert table.taps == {"embedding", "output"}
    assert torch.equal(asked(table, [20, 3, 3], view=7), ROWS[[20, 3, 3]])
    ordered = EmbeddingTable(Rows(ROWS, torch.tensor([4, 2, 9])))
    assert ordered.samples == 3
    assert torch.equal(asked(ordered, [1, 0]), ROWS[[2, 4]])
    assert torch.equal(asked(ordered.to("cpu"), [1, 0]), ROWS[[2, 4]])
    with pytest.raises(Fault, match="samples 0 to 2, and was asked about 3"):
        asked(ordered, [3])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.float64, torch.float32),
        (torch.int8, torch.float32),
    ],
)
def test_halves_stay_and_what_is_wider_is_float32(kind: torch.dtype, said: torch.dtype) -> None:
    table = EmbeddingTable((10 * ROWS).to(kind))
    assert asked(table, [2]).dtype is said
    assert torch.equal(asked(table, [2]), asked(table.to("cpu"), [2]))


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(Fault, match="got neither"):
        EmbeddingTable()
    with pytest.raises(Fault, match="got 21 embedding and 20 output"):
        EmbeddingTable(ROWS, LOGITS[:20])
    with pytest.raises(Fault, match="got 1 axes"):
        EmbeddingTable(ROWS[0])
    for bad in (torch.nan, torch.inf):
        broken = ROWS.clone()
        broken[13, 2] = bad
        with pytest.raises(Fault, match="embedding of sample 13 is not finite"):
            EmbeddingTable(broken)
    with pytest.raises(Fault, match="sample 1 is not finite"):  # beyond float32
        EmbeddingTable(torch.tensor([[1.0], [1e300]], dtype=torch.float64))


def test_it_teaches_as_a_network_that_says_the_same() -> None:
    """Losses and gradients are those of a live teacher whose words the table holds."""
    teacher, batches = toys.teacher(), toys.batches()
    whole = next(toys.batches(size=21).epoch(0))
    said = teacher(Batch(whole.images, None, whole.indices))
    order = whole.indices.argsort()
    embedding = said.taps["embedding"]
    assert isinstance(embedding, Tensor)
    table = EmbeddingTable(embedding[order], said.output[order])
    batch = next(batches.epoch(1))
    found = []
    for each in (teacher, table):
        objective = Objective(rrkd=Term(RRKD(), on="embedding"), kd=Term(KD()))
        distiller = Distiller(toys.student(dropout=0.0), each, objective)
        losses = distiller.losses(batch)
        losses.total.backward()  # type: ignore[no-untyped-call]
        learnt = distiller.student.network.parameters()
        found.append((losses.total, *(each.grad for each in learnt)))
    torch.testing.assert_close(found[0], found[1])


def test_it_trains_with_microbatches_and_without_labels() -> None:
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    distiller = Distiller(toys.student(), EmbeddingTable(ROWS), objective)
    accumulate(distiller, next(toys.batches().epoch(1)), 2)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    epochs = list(fit(distiller, toys.batches(labels=False), optimizer, constant(), epochs=2))
    assert epochs[-1].losses["rrkd"] > 0


def test_what_a_table_does_not_have_is_refused() -> None:
    table = EmbeddingTable(ROWS)
    with pytest.raises(
        Fault, match="the objective reads maps of the teacher, whose taps: embedding"
    ):
        Distiller(toys.student(), table, Objective(sp=Term(SP(), on="maps")))
    with pytest.raises(Fault, match="reads output of the teacher, whose taps: embedding"):
        Distiller(toys.student(), table, Objective(kd=Term(KD())))
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    with pytest.raises(Fault, match="anchors need a live teacher"):
        Distiller(toys.student(), table, objective, anchors=torch.rand(4, 1, 6, 6))
