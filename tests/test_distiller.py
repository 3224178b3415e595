"""One student, one teacher, one objective: what is refused, what learns, what stays."""

import pytest
import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, RRD, RRKD, SP, CrossEntropy, Reconstruction
from relatum.models import create
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Captured, Fault
from tests import toys

RELATIVE = {"rrkd": Term(RRKD(), on="embedding")}


def anchored(images: Tensor | None = None) -> tuple[Teacher, Distiller]:
    taught = toys.teacher()
    images = torch.rand(6, 1, 6, 6) if images is None else images
    return taught, Distiller(toys.student(dropout=0.0), taught, Objective(**RELATIVE), images)


def test_what_is_missing_is_refused_at_construction() -> None:
    student, taught = toys.student(), toys.teacher()
    with pytest.raises(Fault, match="compares with a teacher, but none was given"):
        Distiller(student, None, Objective(kd=Term(KD())))
    with pytest.raises(Fault, match="reads nope of the student, whose taps: embedding, maps, st"):
        Distiller(student, taught, Objective(sp=Term(SP(), on="nope")))
    with pytest.raises(Fault, match="reads nope of the teacher"):
        Distiller(student, taught, Objective(sp=Term(SP(), on="maps", teacher_on="nope")))
    bare = Tapped(toys.Net(), {})
    with pytest.raises(Fault, match="whose taps: none"):
        Distiller(bare, taught, Objective(sp=Term(SP(), on="maps")))


def test_anchors_that_no_term_uses_are_refused() -> None:
    objective = Objective(kd=Term(KD()))
    with pytest.raises(Fault, match="no term of the objective uses them"):
        Distiller(toys.student(), toys.teacher(), objective, torch.rand(3, 1, 6, 6))


def test_a_term_that_must_have_anchors_is_refused_without() -> None:
    class Must(nn.Module):
        def forward(self, student: Tensor, student_anchors: Tensor) -> Tensor:
            return student.sum() - student_anchors.sum()

    with pytest.raises(Fault, match="compares with anchors, but none were given"):
        Distiller(toys.student(), toys.teacher(), Objective(a=Term(Must(), on="embedding")))


def test_a_teacher_that_no_term_asks_is_not_asked() -> None:
    def never(batch: object) -> Captured:
        raise AssertionError("asked")

    distiller = Distiller(toys.student(), never, Objective(ce=Term(CrossEntropy())))
    distiller(toys.batch())
    assert distiller.teacher is None


def test_anchors_are_encoded_by_both_with_gradient_through_the_student() -> None:
    images, batch = torch.rand(6, 1, 6, 6), toys.batch()
    taught, distiller = anchored(images)
    losses, said = distiller(batch)
    student = distiller.student
    embeddings = [
        captured.taps["embedding"]
        for captured in (said, taught(batch), student(images), taught.encode(images))
    ]
    wanted = RRKD()(*embeddings)
    torch.testing.assert_close(losses.total, wanted)
    weight = student.network.get_submodule("conv").weight
    (grad,) = torch.autograd.grad(losses.total, weight, retain_graph=True)  # type: ignore[arg-type]
    (same,) = torch.autograd.grad(wanted, weight, retain_graph=True)  # type: ignore[arg-type]
    torch.testing.assert_close(grad, same)
    cut = RRKD()(*embeddings[:2], embeddings[2].detach(), embeddings[3])  # type: ignore[union-attr]
    (without,) = torch.autograd.grad(cut, weight)  # type: ignore[arg-type]
    assert not torch.allclose(grad, without)


def test_anchors_of_the_student_alone_need_no_teacher() -> None:
    class Drawn(nn.Module):
        relational = True

        def forward(self, student: Tensor, student_anchors: Tensor) -> Tensor:
            return (student.mean(0) - student_anchors.mean(0)).square().sum()

    objective = Objective(drawn=Term(Drawn(), on="embedding"))
    distiller = Distiller(toys.student(), None, objective, torch.rand(3, 1, 6, 6))
    losses, _ = distiller(next(toys.batches().epoch(1)))
    assert losses.total > 0


def test_anchors_are_encoded_again_at_every_step() -> None:
    _, distiller = anchored()
    batch = toys.batch()
    first = distiller(batch)[0].total.item()
    with torch.no_grad():
        for parameter in distiller.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    losses, said = distiller(batch)
    assert losses.total.item() != first
    taught, student = distiller.teacher, distiller.student
    assert isinstance(taught, Teacher)
    assert distiller.learner.anchors is not None
    images = distiller.learner.anchors
    parts = (said, taught(batch), student(images), taught.encode(images))
    torch.testing.assert_close(losses.total, RRKD()(*(each.taps["embedding"] for each in parts)))


def test_anchors_are_saved_and_their_absence_is_not() -> None:
    images = torch.rand(6, 1, 6, 6)
    _, distiller = anchored(images)
    assert torch.equal(distiller.learner.state_dict()["anchors"], images)
    other = Distiller(toys.student(), toys.teacher(), Objective(**RELATIVE))
    assert "anchors" not in other.learner.state_dict()


def test_rest_names_a_decoder_and_changes_nothing_else() -> None:
    network = create("mnist-ae-32", channels=1, size=6, classes=1)
    assert isinstance(network.taps, dict)
    student = Tapped(network, network.taps)
    objective = Objective(
        rrkd=Term(RRKD(), on="embedding"), rrd=Term(RRD(32, 6, queue_size=9), on="embedding")
    )
    distiller = Distiller(student, toys.teacher(), objective)
    distiller.train()
    names = distiller.rest(toys.batch())
    assert set(names) == {
        f"decoder.{n}" for n, _ in network.get_submodule("decoder").named_parameters()
    }
    learning = {name for name, each in student.network.named_parameters() if each.requires_grad}
    assert learning == {
        f"encoder.{n}" for n, _ in network.get_submodule("encoder").named_parameters()
    }
    assert len(distiller.parameters()) == 4 + 2  # and the student's head of RRD, not the teacher's


def test_rest_names_a_classifier_without_labels() -> None:
    distiller = Distiller(toys.student(), toys.teacher(), Objective(sp=Term(SP(), on="maps")))
    assert set(distiller.rest(toys.batch(labels=False))) == {"fc.weight", "fc.bias"}


def test_rest_leaves_a_parameter_that_has_no_weight_yet() -> None:
    """A term that is switched on later reaches what it reaches."""
    objective = Objective(
        ce=Term(CrossEntropy(), weight=lambda progress: progress), sp=Term(SP(), on="maps")
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    assert distiller.rest(toys.batch()) == []


def test_rest_moves_no_state() -> None:
    objective = Objective(
        ce=Term(CrossEntropy()),
        rrd=Term(RRD(4, 6, dim=5, queue_size=9), on="embedding"),
        rrkd=Term(RRKD(), on="embedding"),
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective, torch.rand(5, 1, 6, 6))
    distiller.train()
    modes = [module.training for module in distiller.learner.modules()]
    before, random = toys.state(distiller.learner), torch.get_rng_state()
    assert distiller.teacher is not None
    assert distiller.rest(toys.batch()) == []
    assert toys.same(toys.state(distiller.learner), before)
    assert any("queue" in name for name in before)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in distiller.learner.modules()] == modes
    assert all(each.grad is None for each in distiller.learner.parameters())


def test_rest_refuses_an_objective_that_reaches_nothing() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.zeros(()), requires_grad=False)

        def forward(self, student: Tensor) -> Tensor:
            return (student.detach().sum() * self.own).requires_grad_()

    distiller = Distiller(toys.student(), None, Objective(a=Term(Aside())))
    with pytest.raises(Fault, match="reaches a parameter"):
        distiller.rest(toys.batch())


def test_what_rests_is_not_touched_by_training() -> None:
    objective = Objective(sp=Term(SP(), on="maps", weight=10.0))
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    names = distiller.rest(toys.batch())
    network = distiller.deployed()
    before = toys.state(network)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in fit(distiller, toys.batches(), optimizer, constant(), 1):
        pass
    after = toys.state(network)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == set(names)


def test_every_parameter_that_learns_gets_a_gradient() -> None:
    objective = Objective(
        ce=Term(CrossEntropy()), rrd=Term(RRD(4, 6, dim=5, queue_size=9), on="embedding")
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    distiller.rest(toys.batch())
    distiller.train()
    distiller(toys.batch())[0].total.backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None for each in distiller.parameters())
    heads = dict(objective.named_parameters())
    assert {id(each) for each in distiller.parameters()} >= {
        id(each) for name, each in heads.items() if "student_head" in name
    }
    assert not heads["losses.rrd.teacher_head.weight"].requires_grad


def test_the_bare_student_is_deployed() -> None:
    student = toys.student()
    distiller = Distiller(student, None, Objective(ce=Term(CrossEntropy())))
    assert distiller.deployed() is student.network
    assert set(distiller.deployed().state_dict()) == set(toys.Net().state_dict())


def test_an_auto_encoder_learns_alone() -> None:
    network = create("mnist-ae-32", channels=1, size=6, classes=1)
    assert isinstance(network.taps, dict)
    distiller = Distiller(
        Tapped(network, network.taps), None, Objective(reconstruction=Term(Reconstruction()))
    )
    assert distiller.rest(toys.batch(labels=False)) == []


# Forward passes that end early ------------------------------------------------------------------


def test_losses_alone_are_the_same_losses() -> None:
    objective = Objective(
        sp=Term(SP(), on=("maps", "stages")), rrkd=Term(RRKD(), on="embedding", weight=2.0)
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective, torch.rand(5, 1, 6, 6))
    ran: list[str] = []
    for network in (distiller.student.network, distiller.teacher.network):  # type: ignore[union-attr]
        network.get_submodule("fc").register_forward_hook(lambda *_: ran.append("fc"))
    batch = toys.batch()
    distiller.losses(batch)
    ran.clear()
    results = []
    for ask in (distiller.losses, lambda batch: distiller(batch)[0]):
        torch.manual_seed(0)
        losses = ask(batch)
        grads = torch.autograd.grad(losses.total, distiller.parameters(), allow_unused=True)
        results.append((losses.total, *(each for each in grads if each is not None)))
        ran.append("between")
    assert ran == ["between", "fc", "fc", "fc", "between"]  # student, its anchors, teacher
    assert len(results[0]) == len(results[1]) == 5
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_what_reads_the_output_runs_to_the_end() -> None:
    objective = Objective(ce=Term(CrossEntropy()), sp=Term(SP(), on="maps", weight=3.0))
    distiller = Distiller(toys.student(dropout=0.0), toys.teacher(), objective)
    batch = toys.batch()
    assert torch.equal(distiller.losses(batch).total, distiller(batch)[0].total)


class Watched(nn.Module):
    """Passes on what it gets, and counts how often while it trains or teaches whole batches."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, rows: Tensor) -> Tensor:
        self.rows += len(rows)
        return rows


def with_watched_ends(objective: Objective) -> tuple[Watched, Watched, Distiller]:
    student, taught = toys.student(dropout=0.0), toys.teacher()
    ends = Watched(), Watched()
    for end, network in zip(ends, (student.network, taught.network), strict=True):
        network.fc = nn.Sequential(network.get_submodule("fc"), end)
    return *ends, Distiller(student, taught, objective)


def test_the_losses_alone_run_no_layer_that_no_term_reads() -> None:
    student, taught, distiller = with_watched_ends(Objective(sp=Term(SP(), on="maps")))
    batch = toys.batch()
    for _ in range(3):
        losses = distiller.losses(batch)
    assert student.rows == taught.rows == 2  # to see once that the taps can be read
    torch.testing.assert_close(losses.total, distiller(batch)[0].total, rtol=0, atol=0)
    assert student.rows == taught.rows == 2 + len(batch)


def test_the_losses_alone_run_what_a_term_reads() -> None:
    objective = Objective(ce=Term(CrossEntropy()), sp=Term(SP(), on="maps"))
    student, taught, distiller = with_watched_ends(objective)
    distiller.losses(toys.batch())
    assert (student.rows, taught.rows) == (8, 2)
