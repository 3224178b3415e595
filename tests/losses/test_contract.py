"""One contract for every loss: what each must do whatever its paper says."""

import copy
import inspect
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from relatum.types import Fault
from tests.losses.cases import CASES
from tests.losses.contract import (
    Case,
    Inputs,
    batched,
    called,
    changed,
    learns,
    leaves,
    measured,
)

NEEDS = {
    "student", "teacher", "labels", "indices", "images", "student_anchors", "teacher_anchors"
}  # fmt: skip
STEEPEST = 1e6
"""Gradients of inputs on the scale of one stay below this, also at the edges."""

pytestmark = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(autouse=True)
def excuse(request: pytest.FixtureRequest, case: Case) -> None:
    """A declared exception must fail: one that has come to hold has lost its reason."""
    point = request.function.__name__.removeprefix("test_")
    if point in case.excused:
        request.applymarker(pytest.mark.xfail(reason=case.excused[point], strict=True))


def same(left: object, right: object, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance, equal_nan=False)


def test_finite_scalar(case: Case) -> None:
    value = called(case.make(), case.inputs()).value
    assert value.shape == ()
    assert value.isfinite()


def test_names_what_it_needs(case: Case) -> None:
    parameters = list(inspect.signature(case.loss.forward).parameters)
    assert parameters[:2] == ["self", "student"]
    assert set(parameters[1:]) <= NEEDS
    assert set(case.shapes) <= set(parameters)


def test_says_how_it_differs(case: Case) -> None:
    text, call = " ".join((case.loss.__doc__ or "").split()), case.loss.forward.__doc__
    assert re.search(r"\b(differs|equal to|as in|as the authors)\b", text, re.IGNORECASE)
    assert call


def test_gradient_reaches_the_student_alone(case: Case) -> None:
    for name, gradient in called(case.make(), case.inputs()).gradients.items():
        if learns(name):
            assert gradient is not None
            assert gradient.abs().sum() > 0, name
        elif name.startswith("teacher"):
            assert gradient is None, f"{name} gets a gradient"


def test_parameters_learn_or_are_declared_fixed(case: Case) -> None:
    loss = case.make()
    learned = called(loss, case.inputs()).learned
    for name, parameter in loss.named_parameters():
        gradient = learned[name]
        if parameter.requires_grad:
            assert gradient is not None
            assert gradient.abs().sum() > 0, name
        else:
            assert gradient is None


def test_state_is_registered_and_keeps_no_graph(case: Case) -> None:
    loss = case.make()
    called(loss, case.inputs())
    assert all(buffer.is_leaf and not buffer.requires_grad for buffer in loss.buffers())
    for module in loss.modules():
        assert not any(isinstance(value, Tensor) for value in vars(module).values())


def test_order_of_the_batch_does_not_matter(case: Case) -> None:
    inputs = case.inputs(dtype=torch.float64)
    order = torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    shuffled = changed(inputs, lambda value: value[order], only=batched)
    one, other = called(case.make().double(), inputs), called(case.make().double(), shuffled)
    same(one.value, other.value, 1e-12)
    for name, gradient in one.gradients.items():
        if gradient is not None and batched(name.partition(".")[0]):
            gradient = gradient[order]
        same(gradient, other.gradients[name], 1e-12)


EDGES: dict[str, Callable[[Tensor], Tensor]] = {
    "all coincide": lambda value: value[:1].expand_as(value),
    "two coincide": lambda value: value[[0, 0, *range(2, len(value))]],
    "all zero": torch.zeros_like,
    "one zero": lambda value: torch.cat([torch.zeros_like(value[:1]), value[1:]]),
    "opposite": lambda value: torch.cat([value[: len(value) // 2], -value[len(value) // 2 :]]),
    "orthogonal": lambda value: torch.eye(len(value), value[0].numel()).view_as(value),
    "one value": torch.ones_like,
}
"""What may befall the rows of the student, of the teacher, or of both."""


def held(case: Case, inputs: Inputs) -> None:
    try:
        outcome = called(case.make(), inputs)
    except Fault:
        return
    assert outcome.value.isfinite()
    for name, gradient in {**outcome.gradients, **outcome.learned}.items():
        if gradient is not None:
            assert gradient.isfinite().all(), name
            assert gradient.abs().max() < STEEPEST, name


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_finite(case: Case, edge: str) -> None:
    for rows in (2, 4, 6):
        for only in (learns, lambda name: measured(name) and not learns(name), measured):
            held(case, changed(case.inputs(rows), EDGES[edge], only=only))


@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_are_finite(case: Case, rows: int) -> None:
    held(case, case.inputs(rows))


def test_student_opposite_to_teacher_is_finite(case: Case) -> None:
    for seed in range(20):
        inputs = case.inputs(4, seed=seed)
        for name, value in inputs.items():
            twin = inputs.get(name.replace("student", "teacher"))
            if learns(name) and isinstance(value, Tensor) and isinstance(twin, Tensor):
                wide = torch.zeros_like(value).flatten(1)
                flat = twin.flatten(1)[:, : wide.shape[1]]
                wide[:, : flat.shape[1]] = -flat
                inputs[name] = wide.view_as(value)
        held(case, inputs)


@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_any_scale_is_finite(case: Case, scale: float) -> None:
    scaled = changed(case.inputs(), lambda value: value * scale, only=measured)
    outcome = called(case.make(), scaled)
    for number in (outcome.value, *outcome.gradients.values(), *outcome.learned.values()):
        assert number is None or number.isfinite().all()


def test_gradcheck(case: Case) -> None:
    loss = case.make().double().eval()
    inputs = case.inputs(4, dtype=torch.float64)
    given = {name: value for name, value in leaves(inputs).items() if learns(name)}
    given |= {f"self.{n}": p.detach() for n, p in loss.named_parameters() if p.requires_grad}
    names = list(given)

    def value(*values: Tensor) -> Tensor:
        new = dict(zip(names, values, strict=True))
        own = {name[5:]: each for name, each in new.items() if name.startswith("self.")}
        fed = {
            name: tuple(new.get(f"{name}.{place}", v) for place, v in enumerate(old))
            if isinstance(old, tuple)
            else new.get(name, old)
            for name, old in inputs.items()
        }
        result: Tensor = functional_call(loss, own, (), fed)
        return result

    torch.autograd.gradcheck(value, [given[name].clone().requires_grad_() for name in names])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_inputs_lose_nothing_more(case: Case, dtype: torch.dtype) -> None:
    rounded = case.inputs(dtype=dtype)
    raised = changed(rounded, lambda value: value.float(), only=measured)
    one, other = called(case.make(), rounded), called(case.make(), raised)
    assert one.value.dtype == torch.float32
    same(one.value, other.value)
    for name, gradient in one.gradients.items():
        wanted = other.gradients[name]
        same(gradient, None if wanted is None else wanted.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_changes_nothing(case: Case, dtype: torch.dtype) -> None:
    plain = called(case.make(), case.inputs())
    cast = called(case.make(), case.inputs(), torch.autocast("cpu", dtype=dtype))
    same(cast.value, plain.value)
    same(cast.gradients, plain.gradients)
    same(cast.learned, plain.learned)


def test_state_survives_a_checkpoint(case: Case) -> None:
    loss, twin = case.make(0), case.make(7)
    for seed in (1, 2):
        called(loss, case.inputs(seed=seed))
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    for seed in (3, 4):
        same(called(twin, case.inputs(seed=seed)).value, called(loss, case.inputs(seed=seed)).value)


def test_state_rests_in_evaluation(case: Case) -> None:
    loss = case.make().eval()
    before = {name: value.clone() for name, value in loss.named_buffers()}
    called(loss, case.inputs())
    same(dict(loss.named_buffers()), before)


def test_traces_without_a_break(case: Case) -> None:
    loss = case.make()
    twin = copy.deepcopy(loss)
    torch.compiler.reset()
    traced: Any = torch.compile(twin, fullgraph=True, backend="eager")
    for seed, rows in ((1, 8), (2, 8), (3, 5)):
        plain, compiled = (called(each, case.inputs(rows, seed)) for each in (loss, traced))
        same(compiled.value, plain.value, 1e-6)
        same(compiled.gradients, plain.gradients, 1e-6)
    same(dict(twin.named_buffers()), dict(loss.named_buffers()), 1e-6)


def test_least_where_student_is_teacher(case: Case) -> None:
    inputs = case.inputs(dtype=torch.float64)
    twins = {
        name: inputs[name.replace("student", "teacher" if "teacher" in inputs else "images")]
        for name in inputs
        if learns(name) and case.zero
    }
    if not twins:
        return
    loss = case.make().double()
    outcome = called(loss, {**inputs, **twins})
    same(outcome.value, torch.zeros_like(outcome.value), 1e-7)
    for name in outcome.gradients:
        gradient = outcome.gradients[name]
        assert gradient is None or gradient.abs().max() < 1e-7, name
    assert called(loss, inputs).value > 1e-4


def test_wrong_batch_is_refused(case: Case) -> None:
    inputs, larger = case.inputs(4), case.inputs(5)
    mixed = {
        name: inputs[name] if learns(name) or not batched(name) else larger[name] for name in inputs
    }
    with pytest.raises(Fault) as caught:
        case.make()(**mixed)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_refused(case: Case) -> None:
    for wrong in case.refused:
        with pytest.raises(Fault) as caught:
            case.make(**wrong)
        assert "\n" not in str(caught.value)


def test_every_argument_counts(case: Case) -> None:
    signature = inspect.signature(case.loss.__init__).parameters.values()
    named = [each for each in signature if each.kind is each.POSITIONAL_OR_KEYWORD]
    arguments = {each.name for each in named} - {"self"}
    own = {name for each in CASES if each.loss is case.loss for name in each.others}
    assert own == arguments, "each argument needs another value in `others`"

    def outcome(**changes: Any) -> str:
        loss = case.make(**changes)
        called(loss, case.inputs())
        result = called(loss, case.inputs(seed=2))
        return f"{result.value.item()} {[(n, g is None) for n, g in result.learned.items()]}"

    plain = outcome()
    for name, value in case.others.items():
        try:
            assert outcome(**{name: value}) != plain, f"{name} does nothing"
        except (RuntimeError, Fault):
            continue  # widths other than the inputs' cannot be multiplied
