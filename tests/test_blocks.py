"""Relations in blocks: the same numbers, less memory, for every loss that has one."""

import copy
import json
import runpy
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from relatum import blocks, losses
from relatum.types import Fault
from tests.losses.cases import CASES
from tests.losses.contract import Case, Inputs, called
from tests.losses.numbers import randn

ROOT = Path(__file__).parents[1]
FEW = 38
"""Entries at once: the contract's batches of eight are cut into two blocks or more."""

RELATIONAL = [case for case in CASES if getattr(case.loss, "relational", False)]
CUT = {
    *["SP", "RRKD", "RRD", "RKDDistance", "RKDAngle", "RKD", "PKT", "LP", "CC", "CRD", "DCD"],
    *["ITRD", "EGA", "MLKD"],
}
WHOLE = {
    "SKD": "the direction term inverts a matrix of batch by batch",
    "SemCKD": "its perceptrons have as many entries as the relation that they read",
}
"""Relations that are held whole, and why."""


def pairs(student_rows: Tensor, teacher_rows: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    return (student_rows @ student.T - teacher_rows @ teacher.T).square()


def summed(*given: Tensor) -> Tensor:
    return pairs(*given).sum()


def averaged(*given: Tensor) -> Tensor:
    return pairs(*given).mean()


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [(70, [7]), (69, [6, 1]), (30, [3, 3, 1]), (10, [1] * 7), (9, [1] * 7)],
)
def test_rows_are_cut_in_order_and_fit(
    at_once: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, places = randn(7, 3), torch.arange(7)
    for parts in (blocks.split(10, rows, places, at_once=at_once), None):
        if parts is None:
            monkeypatch.setattr(blocks, "AT_ONCE", at_once)
            parts = blocks.split(10, rows, places)
        assert [len(part) for part, _ in parts] == sizes
        assert torch.equal(torch.cat([part for part, _ in parts]), rows)
        assert torch.equal(torch.cat([own for _, own in parts]), places)
    assert blocks.fit(10, 7) == (len(sizes) == 1)


def test_a_row_too_long_is_a_block_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", 5)
    assert blocks.fit(100, 1)
    assert len(blocks.split(100, randn(1, 2))) == 1
    assert len(blocks.split(100, randn(2, 2))) == 2
    assert len(blocks.split(0, randn(0, 2))) == 1


def test_what_fits_is_handed_on_as_it_is() -> None:
    rows = randn(3, 2)
    ((only,),) = blocks.split(3, rows)
    assert only is rows


@pytest.mark.parametrize("at_once", [6, 12, 18, 35])
@pytest.mark.parametrize(
    ("combine", "function"), [(blocks.mean, averaged), (blocks.total, summed)], ids=["mean", "sum"]
)
def test_equals_the_whole(
    combine: Callable[..., Tensor],
    function: Callable[..., Tensor],
    at_once: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, teacher = randn(6, 3).requires_grad_(), randn(6, 4, seed=1)
    wanted = function(student, teacher, student, teacher)
    (slope,) = torch.autograd.grad(wanted, student)
    monkeypatch.setattr(blocks, "AT_ONCE", at_once)
    have = combine(function, 6, (student, teacher), (student, teacher))
    torch.testing.assert_close(have, wanted, rtol=1e-14, atol=0)
    (have_slope,) = torch.autograd.grad(have, student)
    torch.testing.assert_close(have_slope, slope, rtol=1e-13, atol=1e-13)


def test_what_has_changed_before_the_backward_pass_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", 6)
    student, teacher = randn(6, 3).requires_grad_(), randn(6, 4, seed=1)
    value = blocks.total(summed, 6, (student, teacher), (student, teacher))
    teacher.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()  # type: ignore[no-untyped-call]


def test_unequal_batches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", 6)
    with pytest.raises(Fault, match="batches of 6, 5"):
        blocks.split(6, randn(6, 2), randn(5, 2))


def cut(monkeypatch: pytest.MonkeyPatch, at_once: int = FEW) -> list[int]:
    """Make blocks small, and count those of every relation from here on."""
    counts: list[int] = []
    split = blocks.split

    def counted(*given: Any, **named: Any) -> list[tuple[Tensor, ...]]:
        parts = split(*given, **named)
        if named.get("at_once", 0) <= at_once:
            counts.append(len(parts))
        return parts

    monkeypatch.setattr(blocks, "AT_ONCE", at_once)
    monkeypatch.setattr(blocks, "split", counted)
    return counts


def steps(loss: nn.Module, case: Case, rows: int = 8) -> list[Any]:
    """Values, gradients and state of two steps."""
    found = []
    for seed in (1, 2):
        outcome = called(loss, case.inputs(rows, seed, torch.float64))
        state = {name: buffer.clone() for name, buffer in loss.named_buffers()}
        found.append([outcome.value, outcome.gradients, outcome.learned, state])
    return found


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("case", RELATIONAL, ids=str)
def test_blocks_change_nothing(case: Case, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = steps(case.make().double().train(training), case)
    counts = cut(monkeypatch)
    have = steps(case.make().double().train(training), case)
    torch.testing.assert_close(have, wanted, rtol=1e-9, atol=1e-11)
    assert any(count > 1 for count in counts) == (case.loss.__name__ in CUT and relates(case))


def relates(case: Case) -> bool:
    """Whether a case of a loss that may have a large relation does have one."""
    return str(case) not in ("CC", "CC-embedded", "MLKD-instance")


@pytest.mark.parametrize("case", [c for c in RELATIONAL if c.loss.__name__ in CUT], ids=str)
def test_blocks_are_as_exact_under_autocast(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward pass, which computes them again, runs outside of it."""
    monkeypatch.setattr(blocks, "AT_ONCE", FEW)
    plain = called(case.make(), case.inputs())
    cast = called(case.make(), case.inputs(), torch.autocast("cpu", dtype=torch.bfloat16))
    torch.testing.assert_close(cast.value, plain.value, rtol=0, atol=0)
    torch.testing.assert_close(cast.gradients, plain.gradients, rtol=0, atol=0)
    with torch.no_grad():
        assert torch.equal(case.make()(**case.inputs()), plain.value)


@pytest.mark.parametrize("case", [c for c in RELATIONAL if c.loss.__name__ in CUT], ids=str)
def test_blocks_trace_without_a_break(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "AT_ONCE", FEW)
    loss = case.make()
    twin = copy.deepcopy(loss)
    torch.compiler.reset()
    traced: Any = torch.compile(twin, fullgraph=True, backend="eager")
    for seed, rows in ((1, 8), (2, 8), (3, 5)):
        plain, compiled = (called(each, case.inputs(rows, seed)) for each in (loss, traced))
        torch.testing.assert_close(compiled.value, plain.value, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(compiled.gradients, plain.gradients, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dict(twin.named_buffers()), dict(loss.named_buffers()))


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that were made within it: how many live, and how many at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {self._place(each) for each in tree_leaves((args, kwargs))}
        made = function(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            place = self._place(each)
            if place is None or place in given or place in self.known:
                continue
            storage = each.untyped_storage()
            self.known[place] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, place)
        return made

    def _gone(self, place: int) -> None:
        self.now -= self.known.pop(place)

    @staticmethod
    def _place(value: object) -> int | None:
        return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


def peak(loss: nn.Module, inputs: Inputs) -> int:
    """Bytes that a step holds at its fullest, beside its inputs."""
    with Live() as live:
        called(loss, inputs)
    most: int = live.most
    return most


def test_live_bytes_are_counted() -> None:
    with Live() as live:
        one = torch.ones(100)
        two = one + 1
        del one
        three = two.view(10, 10).mul(2)
        two.add_(1)
    assert live.most == live.now == 800
    del two, three
    assert live.now == 0


def growing() -> Iterator[Any]:
    for case in RELATIONAL:
        reason = WHOLE.get(case.loss.__name__, "")
        if "indices" in case.shapes or case.loss is losses.SemCKD:
            continue  # batches of no more samples than there are, or of one size
        needed = reason and case.name != "instance"
        marks = [pytest.mark.xfail(reason=reason, strict=True)] if needed else []
        yield pytest.param(case, id=str(case), marks=marks)


@pytest.mark.parametrize("case", list(growing()))
def test_memory_grows_with_the_batch_and_not_its_square(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a block of RKD's angles is B×B at the least, which is one corner
    cubic = case.loss in (losses.RKD, losses.RKDAngle) and case.name != "triplets"
    monkeypatch.setattr(blocks, "AT_ONCE", 2**16 if cubic else 2**11)
    small, large = (peak(case.make(), case.inputs(rows)) for rows in (64, 256))
    assert large < 8 * small, "four times the batch: in blocks four times as much, whole sixteen"


def far(queue: bool) -> tuple[nn.Module, Inputs]:
    student, teacher = randn(64, 6).float(), randn(64, 5, seed=1).float()
    if queue:
        return losses.RRD(6, 5, dim=4, queue_size=2000), {"student": student, "teacher": teacher}
    crd = losses.CRD(6, 5, num_samples=2500, dim=4, negatives=2000, seed=0)
    return crd, {"student": student, "teacher": teacher, "indices": torch.arange(64)}


@pytest.mark.parametrize(("queue", "held"), [(True, 1), (False, 14)], ids=["RRD", "CRD"])
def test_memory_does_not_grow_with_the_memory(
    queue: bool, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of batch by memory RRD keeps nothing; CRD 12 bytes an entry: its candidates and logits."""
    monkeypatch.setattr("relatum.memory.AT_ONCE", 2**12)
    whole = peak(*far(queue))
    monkeypatch.setattr(blocks, "AT_ONCE", 2**12)
    limit = held * 64 * 2000 + 2**18
    assert peak(*far(queue)) < limit
    assert whole > 1.5 * limit


def test_the_page_shows_what_was_measured() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "relation_blocks.py"))
    result = json.loads(script["RESULT"].read_text(encoding="utf-8"))
    assert list(result["losses"]) == list(script["SUBJECTS"])
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert script["table"](result) in page, "run: python benchmarks/relation_blocks.py --page"
    stems = {name.partition(",")[0] for name in script["SUBJECTS"]}
    assert (CUT | set(WHOLE)) - {"RKD", "SemCKD"} == stems
