"""What a large batch in microbatches holds for its backward passes."""

import weakref

import torch
from torch import Tensor

from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.losses import RRKD
from relatum.objective import Objective, Term
from tests import toys
from tests.test_accumulate import batch


class Held:
    """Bytes that wait for a backward pass, and the most that there were at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> list[Tensor]:
        class Box(list[Tensor]):
            """A list that can be watched."""

        size, box = tensor.numel() * tensor.element_size(), Box([tensor])
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(box, self._let_go, size)
        return box

    def _let_go(self, size: int) -> None:
        self.now -= size


def held(rows: int, microbatch: int | None) -> int:
    student, counted = toys.student(dropout=0.0, width=32), Held()
    objective = Objective(rrkd=Term(RRKD(), on="embedding"))
    distiller = Distiller(student.double(), toys.teacher().double(), objective)
    with torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda box: box[0]):
        if microbatch is None:
            distiller.losses(batch(rows=rows)).total.backward()  # type: ignore[no-untyped-call]
        else:
            accumulate(distiller, batch(rows=rows), microbatch)
    assert counted.now == 0
    return counted.most


def test_activations_of_one_microbatch_are_held() -> None:
    plain, small = held(64, None), held(64, 4)
    assert small < plain / 8
    assert held(64, 64) > plain / 2
