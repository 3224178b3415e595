"""A large batch in microbatches: the gradient is that of the batch, what it holds is not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from relatum.accumulate import accumulate
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import AT, KD, RRD, RRKD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.recipes.recipe import Recipe
from relatum.schedules import constant
from relatum.taps import Tap, Tapped
from relatum.types import Batch, Fault
from tests import toys

Found = dict[str, Tensor]
BATCH = 8


def made(dropout: float = 0.0, norm: bool = False, **named: Any) -> Distiller:
    """All kinds of terms over a small student, in float64; alike whenever it is called."""
    student, teacher = toys.student(dropout=dropout), toys.teacher()
    bare(student, norm)
    torch.manual_seed(3)
    objective = Objective(
        ce=Term(CrossEntropy(), weight=0.7),
        kd=Term(KD(), weight=0.9),
        sp=Term(SP(), on="maps", weight=30.0),
        rrkd=Term(RRKD(), on="embedding"),
        rrd=Term(RRD(4, 6, dim=5, queue_size=11), on="embedding"),
        at=Term(AT(), on="stages", weight=2.0),
    )
    anchors = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    distiller = Distiller(student, teacher.double(), objective, anchors, **named)
    distiller.learner.double()
    distiller.train()
    torch.manual_seed(11)
    return distiller


def bare(student: Tapped, norm: bool = False) -> Any:
    """Its network, whose layers are looked at; without BatchNorm unless that is asked for."""
    network: Any = student.network
    if not norm:
        network.bn = nn.Identity()
    return network


def batch(number: int = 1, rows: int = BATCH) -> Batch:
    found = next(toys.batches(rows, rows).epoch(number))
    return Batch(found.images.double(), found.labels, found.indices, found.view)


def stepped(distiller: Distiller, microbatch: int | None, steps: int = 2) -> Found:
    """What some steps give, at once or in microbatches."""
    found: Found = {}
    for number in range(1, steps + 1):
        distiller.learner.zero_grad()
        each = batch(number)
        if microbatch is None:
            losses = distiller.losses(each)
            losses.total.backward()  # type: ignore[no-untyped-call]
        else:
            losses = accumulate(distiller, each, microbatch)
        told = {"total": losses.total, **losses.parts, **losses.diagnostics}
        found |= {f"{number} {name}": value.detach() for name, value in told.items()}
        for name, parameter in distiller.named_parameters().items():
            if parameter.grad is not None:
                found[f"{number} gradient of {name}"] = parameter.grad.clone()
    return found | toys.state(distiller.learner)


def same(found: Found, wanted: Found, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("microbatch", [1, 3, 4, BATCH, 3 * BATCH])
def test_the_gradient_is_that_of_the_batch(microbatch: int) -> None:
    wanted = stepped(made(), None)
    assert sum("gradient of conv" in name for name in wanted) == 4
    assert sum("gradient of objective" in name for name in wanted) == 4
    same(stepped(made(), microbatch), wanted)


def test_it_is_added_to_what_was_there() -> None:
    distiller = made()
    for parameter in distiller.parameters():
        parameter.grad = torch.ones_like(parameter)
    accumulate(distiller, batch(), 3)
    wanted = stepped(made(), None, steps=1)
    for name, parameter in distiller.named_parameters().items():
        if parameter.requires_grad:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, wanted[f"1 gradient of {name}"] + 1)


def test_the_sum_over_small_batches_would_be_another() -> None:
    """Else the tests above could not tell."""
    whole, parts = made(), made()
    accumulate(whole, batch(), 2)
    for rows in (slice(first, first + 2) for first in range(0, BATCH, 2)):
        (parts.losses(batch().part(rows)).total / 4).backward()  # type: ignore[no-untyped-call]
    one, other = (bare(each.student).conv.weight.grad for each in (whole, parts))
    assert (one - other).norm() > 0.1 * one.norm()


class Recorded(nn.Module):
    """Notes what passes through."""

    def __init__(self, within: nn.Module) -> None:
        super().__init__()
        self.within = within
        self.told: list[Tensor] = []

    def forward(self, value: Tensor) -> Tensor:
        said: Tensor = self.within(value)
        self.told.append(said.detach().clone())
        return said


def test_both_passes_silence_the_same_units() -> None:
    distiller = made(dropout=0.5)
    dropout = Recorded(nn.Dropout(0.5))
    bare(distiller.student).dropout = dropout
    found = stepped(distiller, 3, steps=1)
    after = torch.get_rng_state()
    told, passes = dropout.told, 3 + 2  # of the batch, of the anchors
    assert len(told) == 2 * passes
    for first, second in zip(told[:passes], told[passes:], strict=True):
        assert torch.equal(first, second)

    # what was drawn stands in the random state once: as if there had been one pass
    torch.manual_seed(11)
    draws = [nn.functional.dropout(torch.ones_like(each)) for each in told[:passes]]
    assert torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(draws[0], draws[1][: len(draws[0])])

    plain = made()
    masks = [torch.cat(draws[:3]), torch.cat(draws[3:])]
    bare(plain.student).dropout.forward = lambda value: value * masks.pop(0)
    losses, _ = plain(batch())
    losses.total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in plain.named_parameters().items():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, found[f"1 gradient of {name}"])


class Drawing(nn.Module):
    """A loss that draws lots."""

    def forward(self, student: Tensor) -> Tensor:
        return student.mean() * torch.rand(())


def test_what_losses_draw_stands_in_the_random_state_too() -> None:
    def state(microbatch: int | None) -> Tensor:
        distiller = Distiller(
            toys.student(dropout=0.5), None, Objective(drawing=Term(Drawing(), on="maps"))
        )
        torch.manual_seed(11)
        if microbatch is None:
            distiller.losses(toys.batch())
        else:
            accumulate(distiller, toys.batch(), microbatch)
        return torch.get_rng_state()

    assert torch.equal(state(3), state(None))


def test_statistics_move_once_for_each_microbatch() -> None:
    distiller, twin = made(norm=True), made(norm=True)
    accumulate(distiller, batch(), 3)
    images, anchors = batch().images, twin.learner.anchors
    assert anchors is not None
    for part in (images[:2], images[2:5], images[5:], anchors[:2], anchors[2:]):
        twin.student(part)
    found, wanted = (bare(each.student, norm=True).bn for each in (distiller, twin))
    assert found.num_batches_tracked == 5
    assert torch.equal(found.running_mean, wanted.running_mean)
    assert torch.equal(found.running_var, wanted.running_var)


def test_both_passes_say_the_same_where_buffers_move() -> None:
    """A spectral norm turns a buffer at every pass, and is divided by what it has turned to."""
    network = bare(toys.student(dropout=0.0))
    head = Recorded(spectral_norm(network.fc))
    network.fc = head
    student = Tapped(network, {"embedding": Tap("flatten")}).double()
    distiller = Distiller(student, None, Objective(ce=Term(CrossEntropy())))
    distiller.train()
    accumulate(distiller, batch(), 2)
    assert len(head.told) == 8
    assert not torch.equal(head.told[0], head.told[1])
    for first, second in zip(head.told[:4], head.told[4:], strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("drifting", [False, True])
def test_a_stage_in_which_a_part_learns(drifting: bool) -> None:
    def stage() -> Distiller:
        distiller = made(norm=True, only=("fc",), drifting=drifting)
        distiller.rest(batch())
        return distiller

    found, wanted = stepped(stage(), 3, steps=1), stepped(stage(), None, steps=1)
    assert {name for name in found if "gradient of" in name and "objective" not in name} == {
        "1 gradient of fc.weight",
        "1 gradient of fc.bias",
    }
    if drifting:  # its BatchNorm normalises, and so couples, each microbatch by itself
        tracked = [each["student.network.bn.num_batches_tracked"] for each in (found, wanted)]
        assert torch.equal(torch.stack(tracked), torch.tensor([5, 2]))
    else:
        same(found, wanted)


def test_autocast_reaches_both_passes() -> None:
    def gradient(microbatch: int | None, cast: bool) -> Tensor:
        network = bare(toys.student(dropout=0.0))
        kinds: set[torch.dtype] = set()
        network.conv.register_forward_hook(lambda _, __, said: kinds.add(said.dtype))
        terms = {"sp": Term(SP(), on="maps", weight=30.0), "ce": Term(CrossEntropy())}
        distiller = Distiller(Tapped(network, toys.TAPS), toys.teacher(), Objective(**terms))
        distiller.train()

        def around() -> torch.autocast:
            return torch.autocast("cpu", torch.bfloat16, enabled=cast)

        if microbatch is not None:
            accumulate(distiller, toys.batch(), microbatch, around)
        else:
            with around():
                losses = distiller.losses(toys.batch())
            losses.total.backward()  # type: ignore[no-untyped-call]
        assert kinds == {torch.bfloat16 if cast else torch.float32}
        found = [parameter.grad for parameter in distiller.parameters()]
        return torch.cat([grad.flatten() for grad in found if grad is not None])

    plain, exact = gradient(None, cast=True), gradient(None, cast=False)
    rounding = (plain - exact).norm()
    assert rounding > 0
    for microbatch in (1, 3, BATCH):
        assert (gradient(microbatch, cast=True) - plain).norm() < rounding


def test_a_microbatch_has_a_sample() -> None:
    with pytest.raises(Fault, match="at least one sample, got 0"):
        accumulate(made(), batch(), 0)
    with pytest.raises(Fault, match="microbatch"):
        Recipe(microbatch=4).but(microbatch=0)


def test_fit_trains_the_same_student() -> None:
    def trained(microbatch: int | None) -> tuple[Found, list[dict[str, float]]]:
        student = toys.student(dropout=0.0)
        bare(student)
        torch.manual_seed(3)
        terms = {"ce": Term(CrossEntropy()), "sp": Term(SP(), on="maps", weight=30.0)}
        rrd = Term(RRD(4, 6, dim=5, queue_size=11), on="embedding")
        distiller = Distiller(student, toys.teacher(), Objective(**terms, rrd=rrd))
        optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05, momentum=0.9)
        epochs = fit(distiller, toys.batches(), optimizer, constant(), 3, microbatch=microbatch)
        told = [dict(epoch.losses) for epoch in epochs]
        return toys.state(distiller.learner), told

    wanted, losses = trained(None)
    for microbatch in (1, 2):  # the last batch of an epoch is of one sample
        found, told = trained(microbatch)
        same(found, wanted, 1e-5)
        assert told == [pytest.approx(each, rel=1e-4) for each in losses]
