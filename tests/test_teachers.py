"""A teacher cannot learn, whoever calls what."""

import copy

import pytest
import torch
from torch import nn

from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.losses import KD, SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.schedules import constant
from relatum.taps import Tap, Tapped, Taps
from relatum.teachers import Teacher
from relatum.types import Batch, Captured, Fault, Images, Input
from tests import toys


class Watching(Teacher):
    """Notes at every forward pass of its network whether anything was in training mode."""

    def __init__(self, network: nn.Module, taps: Taps) -> None:
        super().__init__(network, taps)
        self.seen: list[bool] = []
        network.register_forward_pre_hook(
            lambda module, _: self.seen.append(any(each.training for each in module.modules()))
        )


class Parent(nn.Module):
    """A framework's module that holds all and puts all in training mode."""

    def __init__(self, *children: nn.Module) -> None:
        super().__init__()
        self.children_ = nn.ModuleList(children)


def pair() -> tuple[Watching, Distiller]:
    taught = Watching(toys.teacher().network, toys.TAPS)
    objective = Objective(
        ce=Term(CrossEntropy()), kd=Term(KD()), sp=Term(SP(), on="maps", weight=10.0)
    )
    return taught, Distiller(toys.student(), taught, objective)


@pytest.mark.parametrize("who", ["teacher", "network", "tapped", "layer", "parent"])
def test_it_is_the_same_after_training_bit_for_bit(who: str) -> None:
    taught, distiller = pair()
    before = toys.state(taught.network)
    assert any("running_mean" in name for name in before)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)
    shake = {
        "teacher": taught,
        "network": taught.network,
        "tapped": taught.tapped,
        "layer": taught.network.get_submodule("bn"),
        "parent": Parent(taught, distiller.learner),
    }[who]
    shake.train()
    source = toys.batches()
    for _ in fit(distiller, source, optimizer, constant(), 2):
        distiller.learner.eval()
        shake.train()  # as Lightning does after a validation
    assert len(taught.seen) == 2 * len(source)
    assert not any(taught.seen)
    assert toys.same(toys.state(taught.network), before)
    assert toys.same(dict(taught.state()), dict(taught.network.state_dict()))


def test_train_keeps_it_at_rest_and_gives_itself_back() -> None:
    taught = toys.teacher()
    assert taught.train() is taught
    assert not any(module.training for module in taught.modules())
    parent = Parent(taught).train()
    assert parent.training
    assert not any(module.training for module in taught.modules())


def test_nothing_of_it_asks_for_a_gradient() -> None:
    taught, batch = toys.teacher(), toys.batch()
    said = taught(batch)
    assert not any(each.requires_grad for each in taught.parameters())
    values = [said.output]
    for value in said.taps.values():
        values.extend(toys.tensors(value))
    assert len(values) == 5
    assert not any(value.requires_grad or value.grad_fn for value in values)
    assert not any(value.is_inference() for value in values)  # a projector could not learn on it


def test_a_projector_can_learn_on_what_it_says() -> None:
    said = toys.teacher()(toys.batch()).taps["embedding"]
    assert isinstance(said, torch.Tensor)
    projector = nn.Linear(6, 2)
    projector(said).sum().backward()
    assert projector.weight.grad is not None


def test_it_normalises_for_itself() -> None:
    network = toys.teacher().network
    batch = toys.batch()
    plain = Teacher(network, toys.TAPS)(batch)
    scaled = Teacher(network, toys.TAPS, Input(mean=(0.25,), std=(0.5,)))(batch)
    assert not torch.equal(plain.output, scaled.output)
    with torch.no_grad():
        torch.testing.assert_close(scaled.output, network((batch.images - 0.25) / 0.5))


def test_it_stays_out_of_learner_optimiser_and_state() -> None:
    taught, distiller = pair()
    its = {id(each) for each in taught.parameters()}
    assert its
    assert not its & {id(each) for each in distiller.parameters()}
    assert not its & {id(each) for each in distiller.learner.parameters()}
    shapes = {value.shape for value in taught.network.state_dict().values() if value.ndim}
    saved = distiller.learner.state_dict()
    assert all(name.startswith(("student.", "objective.")) for name in saved)
    assert torch.Size([6, 1, 3, 3]) in shapes
    assert torch.Size([6, 1, 3, 3]) not in {value.shape for value in saved.values()}


def test_two_teachers_on_one_network_do_not_disturb_each_other() -> None:
    network, batch = toys.teacher().network, toys.batch()
    first = Teacher(network, {"embedding": Tap("fc", "input")})
    alone = first(batch)
    second = Teacher(network, {"embedding": Tap("bn"), "maps": Tap("relu")}, Input(mean=(0.5,)))
    tapped = Tapped(network, toys.TAPS)
    with torch.no_grad():
        said = second(batch), tapped(batch.images), first(batch)
    assert set(said[0].taps) == {"embedding", "maps"}
    assert set(said[2].taps) == {"embedding"}
    assert torch.equal(said[2].output, alone.output)
    for captured in said[1:]:
        assert torch.equal(*(each.taps["embedding"] for each in (captured, alone)))
    assert not torch.equal(said[0].output, alone.output)


def test_a_copy_is_a_teacher_of_its_own() -> None:
    taught, batch = toys.teacher(), toys.batch()
    other = copy.deepcopy(taught)
    with torch.no_grad():
        dict(other.network.named_parameters())["fc.weight"].zero_()
    assert other(batch).output.std(0).max() == 0
    assert taught(batch).output.std(0).max() > 0


def test_any_callable_of_a_batch_teaches() -> None:
    """A table of embeddings, say: looked up by index, no network at all."""
    table = torch.randn(40, 6)

    def look_up(batch: Batch) -> Captured:
        return Captured(table[batch.indices], {"embedding": table[batch.indices]})

    distiller = Distiller(
        toys.student(), look_up, Objective(sp=Term(SP(), on="embedding", weight=5.0))
    )
    losses, _ = distiller(toys.batch())
    losses.total.backward()  # type: ignore[no-untyped-call]
    distiller.to("cpu")
    images: Images = torch.rand(4, 1, 6, 6)
    with pytest.raises(Fault, match="live teacher"):
        Distiller(
            toys.student(), look_up, Objective(a=Term(Anchored(), on="embedding")), anchors=images
        )


class Anchored(nn.Module):
    def forward(
        self, student: torch.Tensor, student_anchors: torch.Tensor, teacher_anchors: torch.Tensor
    ) -> torch.Tensor:
        return student.sum() + student_anchors.sum()
