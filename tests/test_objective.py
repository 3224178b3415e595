"""Objectives: what terms ask for, what they are given, what comes of it."""

import pytest
import torch
from torch import Tensor, nn

from relatum.distiller import Distiller
from relatum.losses import KD, RRD, RRKD, SP, CrossEntropy, Reconstruction
from relatum.objective import NEEDS, Objective, Term
from relatum.taps import Tapped
from relatum.types import Batch, Captured, Fault, Input
from tests import toys


class Sees(nn.Module):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, object] = {}


class All(Sees):
    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        indices: Tensor,
        images: Tensor,
        student_anchors: Tensor | None = None,
        teacher_anchors: Tensor | None = None,
        scale: float = 2.0,
    ) -> Tensor:
        self.given = {key: value for key, value in locals().items() if key in NEEDS}
        return student.sum() * scale


class Optional(Sees):
    def forward(
        self, student: Tensor, teacher: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        self.given = {"student": student, "teacher": teacher, "labels": labels}
        return student.mean()


class Asks(nn.Module):
    def forward(self, student: Tensor, targets: Tensor) -> Tensor:
        return student.mean()


class AsksNothing(nn.Module):
    def forward(self, *args: Tensor, **named: Tensor) -> Tensor:
        return torch.zeros(())


class Tells(nn.Module):
    diagnostics = ("norm",)
    norm: Tensor

    def forward(self, student: Tensor) -> Tensor:
        self.norm = student.norm()
        return student.mean()


class Mean(nn.Module):
    def forward(self, student: Tensor) -> Tensor:
        return student.mean()


def given(batch: Batch) -> tuple[Captured, Captured, Tensor]:
    """What a student and a teacher say about a batch, and the student's input."""
    learner, taught = toys.student(), toys.teacher()
    images = learner.prepare(batch.images)
    return learner.read(images), taught(batch), images


def test_needs_are_read_from_the_signature() -> None:
    objective = Objective(
        task=Term(CrossEntropy()),
        sp=Term(SP(), on="maps"),
        rrkd=Term(RRKD(), on="embedding", teacher_on="wide"),
    )
    assert {need for need in NEEDS if objective.needs(need)} == {"student", "teacher", "labels"}
    assert objective.accepts("student_anchors")
    assert not objective.needs("student_anchors")
    assert not objective.accepts("images")
    assert objective.reads("student") == {"maps", "embedding"}
    assert objective.reads("teacher") == {"maps", "wide"}


def test_output_is_no_tap_and_tuples_are_several() -> None:
    objective = Objective(a=Term(SP(), on=("maps", "output", "embedding")))
    assert objective.reads("student") == {"maps", "embedding"}
    assert Objective(task=Term(CrossEntropy())).reads("teacher") == set()


def test_an_unknown_need_is_refused_at_construction() -> None:
    with pytest.raises(Fault, match=r"'targets'.*labels, indices") as caught:
        Objective(mine=Term(Asks()))
    assert "\n" not in str(caught.value)
    assert "'mine'" in str(caught.value)


def test_no_term_and_a_term_that_asks_for_nothing_are_refused() -> None:
    with pytest.raises(Fault, match="at least one term"):
        Objective()
    with pytest.raises(Fault, match="asks for none of"):
        Objective(mine=Term(AsksNothing()))


@pytest.mark.parametrize("name", ["keys", "train", "a.b", ""])
def test_a_name_that_no_module_may_bear_is_refused_in_words(name: str) -> None:
    with pytest.raises(Fault, match="name"):
        Objective(**{name: Term(Mean())})


def test_a_loss_that_is_no_module_is_refused_in_words() -> None:
    with pytest.raises(Fault, match=r"'ce': its loss must be a torch.nn.Module, got <class"):
        Objective(ce=Term(CrossEntropy))  # type: ignore[arg-type]


def test_every_need_is_met_by_the_right_thing() -> None:
    loss, batch = All(), toys.batch()
    said, taught, images = given(batch)
    Objective(a=Term(loss, on="embedding", teacher_on="maps"))(said, taught, batch, images)
    assert loss.given["student"] is said.taps["embedding"]
    assert loss.given["teacher"] is taught.taps["maps"]
    assert loss.given["labels"] is batch.labels
    assert loss.given["indices"] is batch.indices
    assert loss.given["images"] is images
    assert loss.given["student_anchors"] is None


def test_images_are_the_students_normalised_input() -> None:
    loss, batch = All(), toys.batch()
    learner = toys.student()
    Distiller(learner, toys.teacher(), Objective(a=Term(loss)))(batch)
    assert isinstance(loss.given["images"], Tensor)
    torch.testing.assert_close(loss.given["images"], (batch.images - 0.5) / 0.5)
    auto = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.Unflatten(1, (1, 6, 6)))
    tapped = Tapped(auto, {}, Input(mean=(0.3,), std=(0.2,)))
    losses, said = Distiller(tapped, None, Objective(r=Term(Reconstruction())))(batch)
    wanted = (said.output - (batch.images - 0.3) / 0.2).square().mean()
    torch.testing.assert_close(losses.total, wanted)


def test_what_is_optional_and_absent_is_left_out() -> None:
    loss, batch = Optional(), toys.batch(labels=False)
    said, taught, images = given(batch)
    objective = Objective(a=Term(loss))
    objective(said, None, batch, images)
    assert loss.given["teacher"] is None
    assert loss.given["labels"] is None
    objective(said, taught, toys.batch(), images)
    assert loss.given["teacher"] is not None
    assert loss.given["labels"] is not None


def test_a_batch_without_labels_and_a_term_that_needs_them() -> None:
    batch = toys.batch(labels=False)
    said, taught, images = given(batch)
    with pytest.raises(Fault, match="'task' needs labels"):
        Objective(task=Term(CrossEntropy()))(said, taught, batch, images)
    Objective(kd=Term(KD()))(said, taught, batch, images)


def test_several_taps_come_as_a_flat_tuple_in_order() -> None:
    batch = toys.batch()
    said, taught, images = given(batch)
    seen: list[object] = []

    class Takes(nn.Module):
        def forward(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
            seen.extend((*student, *teacher))
            return student[0].mean()

    Objective(a=Term(Takes(), on=("embedding", "stages", "output")))(said, taught, batch, images)
    wanted: list[Tensor] = []
    for captured in (said, taught):
        wanted += [captured.taps["embedding"], *captured.taps["stages"], captured.output]  # type: ignore[list-item]
    assert [id(each) for each in seen] == [id(each) for each in wanted]


def test_the_total_is_the_weighted_sum_and_parts_are_unweighted() -> None:
    batch = toys.batch()
    said, taught, images = given(batch)
    objective = Objective(
        ce=Term(CrossEntropy(), weight=0.5),
        sp=Term(SP(), on="maps", weight=3000.0),
        off=Term(KD(), weight=0.0),
    )
    losses = objective(said, taught, batch, images)
    parts = losses.parts
    torch.testing.assert_close(losses.total, 0.5 * parts["ce"] + 3000 * parts["sp"])
    torch.testing.assert_close(parts["ce"], CrossEntropy()(said.output, batch.labels))
    assert list(parts) == ["ce", "sp", "off"]
    assert losses.total.requires_grad
    assert not any(part.requires_grad for part in parts.values())


def test_weights_follow_their_schedules() -> None:
    batch = toys.batch()
    said, _, images = given(batch)
    objective = Objective(
        a=Term(Mean(), weight=lambda progress: 2 + progress), b=Term(Mean(), weight=5.0)
    )
    assert objective.weights.tolist() == [2.0, 5.0]
    weights = objective.weights
    objective.at(0.5)
    assert objective.weights is weights  # written in place, as a captured graph needs it
    losses = objective(said, None, batch, images)
    torch.testing.assert_close(losses.total, (2.5 + 5.0) * said.output.mean())


def test_diagnostics_are_named_after_their_term() -> None:
    batch = toys.batch()
    said, _, images = given(batch)
    losses = Objective(a=Term(Tells(), on="embedding"), b=Term(Mean()))(said, None, batch, images)
    assert list(losses.diagnostics) == ["a.norm"]
    assert not losses.diagnostics["a.norm"].requires_grad
    assert isinstance(said.taps["embedding"], Tensor)
    torch.testing.assert_close(losses.diagnostics["a.norm"], said.taps["embedding"].norm())


def test_weights_are_not_saved_and_losses_are() -> None:
    objective = Objective(rrd=Term(RRD(4, 6, dim=3, queue_size=5), on="embedding"))
    names = set(objective.state_dict())
    assert "weights" not in names
    assert {"losses.rrd.queue", "losses.rrd.pointer", "losses.rrd.student_head.weight"} <= names
