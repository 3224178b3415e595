"""Networks in parts: the same numbers as whole ones, in a part of the memory.

Run as a module this file is one of the processes.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relatum import world
from relatum.distiller import Distiller
from relatum.losses import SP, CrossEntropy
from relatum.objective import Objective, Term
from relatum.sharding import (
    blocks,
    full_optimizer_state,
    full_state,
    load_full_optimizer_state,
    load_full_state,
    shard,
    shard_learner,
    sharded,
)
from relatum.taps import Tap, Tapped, Taps
from relatum.teachers import Teacher
from relatum.types import Batch, Fault
from tests import toys
from tests.processes import join, long, start

Found = dict[str, Any]
CPU = torch.device("cpu")

STEPS = 6
TAPS: Taps = {
    "embedding": Tap("fc", "input"),
    "maps": Tap("layers.3"),
    "entering": Tap("layers.1", "input"),
    "inner": Tap("layers.1.relu"),
}


class Block(nn.Module):
    """A convolution around which the input passes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        left: Tensor = maps + self.relu(self.conv(maps))
        return left


class Tower(nn.Module):
    """A stem, four blocks, a classifier, one number; no layer couples samples."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.Sequential(*(Block(width) for _ in range(4)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(width, toys.CLASSES)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layers(self.stem(images))
        logits: Tensor = self.fc(self.flatten(self.pool(maps))) * self.scale
        return logits


class Head(nn.Module):
    """A loss with parameters of its own, one of them a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(5, 7)
        self.scale = nn.Parameter(torch.ones(()))
        self.fixed = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        difference: Tensor = self.project(student) * self.scale + self.fixed - teacher
        return difference.square().mean()


class Anchored(nn.Module):
    """The student runs twice in one step: on the batch, and on the anchors."""

    relational = True

    def forward(
        self, student: Tensor, teacher: Tensor, student_anchors: Tensor, teacher_anchors: Tensor
    ) -> Tensor:
        own = F.normalize(student) @ F.normalize(student_anchors).T
        return (own - F.normalize(teacher) @ F.normalize(teacher_anchors).T).square().mean()


def tower(seed: int, width: int) -> Tower:
    torch.manual_seed(seed)
    return Tower(width).double()


def teacher(seed: int = 1) -> Teacher:
    return Teacher(tower(seed, 7), TAPS)


def everything() -> Objective:
    torch.manual_seed(3)
    return Objective(
        ce=Term(CrossEntropy()),
        sp=Term(SP(), on="maps", weight=20.0),
        head=Term(Head().double(), on="embedding", weight=0.5),
    )


CASES: dict[str, tuple[Callable[[], Objective], bool]] = {
    "all": (everything, False),
    "output unread": (lambda: Objective(sp=Term(SP(), on="embedding", weight=20.0)), False),
    "inside a block": (lambda: Objective(sp=Term(SP(), on="inner", weight=20.0)), False),
    "before a block": (lambda: Objective(sp=Term(SP(), on="entering", weight=20.0)), False),
    "anchors": (lambda: Objective(anchored=Term(Anchored(), on="embedding")), True),
}
"""What is minimised, and whether there are anchors."""


def distiller(name: str, *, split: bool = False, paths: tuple[str, ...] | None = None) -> Distiller:
    """With student and teacher in parts, or whole; the teacher's path is the usual one."""
    objective, anchored = CASES[name]
    student = Tapped(tower(0 if not split else world.rank(), 5), TAPS)
    anchors = toys.batch(5).images.double() if anchored else None
    made = Distiller(student, teacher(), objective(), anchors)
    student.only(objective().reads("student"))
    made.rest(toys.batch())
    if split:
        if made.teacher is not None:
            assert isinstance(made.teacher, Teacher)
            made.teacher.shard(CPU)
        shard_learner(made.learner, student, CPU, paths)
    return made


def optimizer(made: Distiller) -> torch.optim.Optimizer:
    rate = torch.tensor(0.05)
    return torch.optim.SGD(made.parameters(), lr=rate, momentum=0.9, weight_decay=1e-3)


def batches(steps: int) -> Iterator[Batch]:
    """This process's part of every batch of eight; all of it, where it is alone."""
    for step in range(steps):
        torch.manual_seed(100 + step)
        images, labels = torch.rand(8, 1, 6, 6), torch.arange(8) % toys.CLASSES
        yield Batch(images, labels, torch.arange(8)).part(world.own(8))


def train(made: Distiller, steps: int, descend: torch.optim.Optimizer | None = None) -> Found:
    """What came of some steps, with an evaluation before them and after each."""
    descend, images = descend or optimizer(made), toys.batch().images.double()
    losses: list[float] = []
    said: list[Tensor] = []

    def evaluate() -> None:
        with torch.no_grad():
            said.append(made.deployed()(images))

    evaluate()
    made.train()
    for batch in batches(steps):
        part = made.losses(batch)
        part.total.backward()  # type: ignore[no-untyped-call]
        descend.step()
        descend.zero_grad(set_to_none=True)
        losses.append(float(world.mean(part.total.detach())))
        evaluate()
    return {
        "losses": torch.tensor(losses, dtype=torch.float64),
        "said": torch.stack(said),
        "state": full_state(made.learner),
        "optimizer": full_optimizer_state(descend),
    }


def held(tensors: Iterable[Tensor]) -> int:
    """Bytes that this process keeps for some tensors."""
    return sum(part(each).untyped_storage().nbytes() for each in tensors)


def share(tensors: Iterable[Tensor], among: int) -> int:
    """Bytes of the largest part, where each is cut along its first axis into so many."""
    some = list(tensors)
    rows = [-(-len(each) // among) if each.ndim else 1 for each in some]
    return sum(
        row * (each[0].numel() if each.ndim else 1) * each.element_size()
        for row, each in zip(rows, some, strict=True)
    )


def part(parameter: Any) -> Tensor:
    local: Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local


def taught() -> Found:
    """A teacher in parts beside the same as a whole."""
    whole, split = teacher(), teacher()
    network = split.network
    assert isinstance(network, Tower)
    split.shard(CPU)
    at_rest = held(network.parameters())
    gathered: list[Tensor] = []
    others: list[bool] = []

    def look(convolution: nn.Module, *_: Any) -> None:
        gathered.extend(each for each in convolution.parameters() if not sharded(convolution))
        others.append(sum(sharded(each) for each in network.layers) < len(network.layers) - 1)

    for block in network.layers:
        block.get_submodule("conv").register_forward_hook(look)
    batch = toys.batch()
    said, expected = split(batch), whole(batch)
    found: Found = {
        "same": torch.equal(said.output, expected.output)
        and all(torch.equal(said.taps[name], expected.taps[name]) for name in TAPS),
        "state": toys.same(dict(split.state()), dict(whole.state())),
        "grads": any(each.requires_grad for each in network.parameters()),
        "training": any(module.training for module in split.train().modules()),
        "bytes": (at_rest, held(network.parameters())),
        "left": sum(each.untyped_storage().nbytes() for each in gathered),
        "gathered": len(gathered),
        "others": any(others),
    }
    for kind in (torch.bfloat16, torch.float16):
        halved = Teacher(tower(1, 7).to(kind), TAPS)
        with torch.autocast("cpu", torch.bfloat16):
            given, turned = halved(batch), teacher().shard(CPU, kind)(batch)
        found[str(kind)] = (turned.output.dtype, torch.equal(given.output, turned.output))
    return found


def resumed() -> Found:
    """Half of a training, saved; a learner that knew nothing goes on with it."""
    first = distiller("all", split=True)
    saved = train(first, 3)
    second = distiller("all", split=True, paths=("layers.2",))
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.0)
    descend = optimizer(second)
    load_full_state(second.learner, saved["state"])
    load_full_optimizer_state(descend, saved["optimizer"])
    return {"saved": saved, "then": train(second, 3, descend)}


def whole_into_parts() -> Found:
    """What an optimiser over whole parameters saved, read by one over parts, and given again."""
    made = distiller("all")
    descend = optimizer(made)
    for place, parameter in enumerate(made.parameters()):
        parameter.grad = torch.full_like(parameter, place + 1.0)
    descend.step()
    weights, slots = copy.deepcopy((made.learner.state_dict(), descend.state_dict()))
    split = distiller("all", split=True)
    over = optimizer(split)
    load_full_state(split.learner, weights)
    load_full_optimizer_state(over, slots)
    return {
        "weights": toys.same(full_state(split.learner), dict(weights)),
        "slots": [
            torch.equal(slot["momentum_buffer"], slots["state"][place]["momentum_buffer"])
            for place, slot in full_optimizer_state(over)["state"].items()
        ],
        "held": held(slot["momentum_buffer"] for slot in over.state_dict()["state"].values()),
        "learns": held(split.parameters()),
    }


def refused() -> list[str]:
    """The words of what cannot be."""
    said: list[str] = []
    odd = {"state": {0: {"row": torch.ones(2)}}, "param_groups": []}
    made = distiller("all", split=True)
    network = Tapped(tower(0, 5), TAPS)
    for action in (
        lambda: teacher().shard(CPU, paths=["layer.1"]),
        lambda: shard_learner(nn.ModuleList([network]), network, CPU, ["layers.1"]),
        lambda: load_full_optimizer_state(optimizer(made), odd),
    ):
        with pytest.raises(Fault) as refusal:
            action()
        said.append(str(refusal.value))
    return said


def work() -> Found:
    found: Found = {name: train(distiller(name, split=True), STEPS) for name in CASES}
    found["no blocks"] = train(distiller("output unread", split=True, paths=()), STEPS)
    found["taught"] = taught()
    found["resumed"] = resumed()
    found["whole into parts"] = whole_into_parts()
    found["refused"] = refused()
    return found


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=long)])
def processes(request: pytest.FixtureRequest) -> list[Found]:
    """What each of some processes found."""
    return start("tests.test_sharding", request.param)


@pytest.mark.parametrize("name", [*CASES, "no blocks"])
def test_a_student_in_parts_learns_the_same(name: str, processes: list[Found]) -> None:
    expected = train(distiller("output unread" if name == "no blocks" else name), STEPS)
    assert not torch.allclose(expected["said"][0], expected["said"][-1]) or name != "all"
    for each in processes:
        torch.testing.assert_close(each[name], expected, rtol=0, atol=1e-9)


def test_a_teacher_in_parts_says_and_holds_the_same(processes: list[Found]) -> None:
    for each in processes:
        found = each["taught"]
        assert (found["same"], found["state"]) == (True, True)
        assert (found["grads"], found["training"]) == (False, False)
        for kind in (torch.bfloat16, torch.float16):
            assert found[str(kind)] == (kind, True)


def test_each_process_holds_its_part_of_a_teacher(processes: list[Found]) -> None:
    parts = share(teacher().network.parameters(), len(processes))
    assert parts < 0.6 * held(teacher().network.parameters())
    for each in processes:
        assert each["taught"]["bytes"] == (parts, parts)
        assert each["taught"]["gathered"] == 8
        assert each["taught"]["left"] == 0
        assert not each["taught"]["others"]


def test_a_student_and_its_momentum_are_held_in_parts(processes: list[Found]) -> None:
    parts = share(distiller("all").parameters(), len(processes))
    assert parts < 0.7 * held(distiller("all").parameters())
    for each in processes:
        found = each["whole into parts"]
        assert found["held"] <= found["learns"] <= parts


def test_a_checkpoint_goes_from_parts_to_parts(processes: list[Found]) -> None:
    made = distiller("all")
    descend = optimizer(made)
    train(made, 3, descend)
    expected = train(made, 3, descend)
    for each in processes:
        torch.testing.assert_close(each["resumed"]["then"], expected, rtol=0, atol=1e-9)


def test_a_checkpoint_goes_from_parts_to_a_whole(processes: list[Found]) -> None:
    expected = processes[0]["resumed"]["then"]
    saved = processes[0]["resumed"]["saved"]
    made = distiller("all")
    descend = optimizer(made)
    made.learner.load_state_dict(saved["state"])
    descend.load_state_dict(saved["optimizer"])
    torch.testing.assert_close(train(made, 3, descend), expected, rtol=0, atol=1e-9)


def test_a_checkpoint_goes_from_a_whole_to_parts(processes: list[Found]) -> None:
    for each in processes:
        found = each["whole into parts"]
        assert found["weights"]
        assert len(found["slots"]) > 10
        assert all(found["slots"])


def test_what_cannot_be_is_said(processes: list[Found]) -> None:
    path, tap, slot = processes[0]["refused"]
    assert "'layer.1'" in path
    assert "layers.0" in path
    assert "'layers.1'" in tap
    assert "'layers.1.relu'" in tap
    assert "'row'" in slot


def test_alone_nothing_is_in_parts() -> None:
    made, taught = distiller("all", split=True), teacher()
    assert not sharded(made.learner)
    assert taught.shard(CPU) is taught
    assert torch.equal(taught(toys.batch()).output, teacher()(toys.batch()).output)
    assert taught.shard(CPU, torch.bfloat16)(toys.batch()).output.dtype == torch.bfloat16
    tapped = Tapped(tower(0, 5), TAPS)
    shard(tapped, CPU)
    assert not sharded(tapped)
    other = distiller("anchors")
    load_full_state(other.learner, full_state(other.learner))


def test_blocks_are_found_by_structure() -> None:
    assert blocks(tower(0, 5)) == ("layers.0", "layers.1", "layers.2", "layers.3")
    assert blocks(tower(0, 5), ["layers.1.relu"]) == ("layers.0", "layers.2", "layers.3")
    assert blocks(tower(0, 5), ["layers.1"]) == blocks(tower(0, 5))
    assert blocks(nn.Linear(3, 2)) == ()
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    assert blocks(encoder) == tuple(f"layers.{place}" for place in range(6))


def test_a_large_block_is_cut_where_it_is_made_of_blocks() -> None:
    stages = nn.Sequential(
        nn.Sequential(*(Block(4) for _ in range(2))), nn.Sequential(*(Block(8) for _ in range(4)))
    )
    assert blocks(stages) == ("0", "1.0", "1.1", "1.2", "1.3")
    assert blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(200, 200))) == ("1",)


def test_a_block_that_shares_a_parameter_is_none() -> None:
    tied = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    tied[3].weight = tied[1].weight
    assert blocks(tied) == ("0", "2")
    twice = nn.Linear(4, 4)
    assert blocks(nn.Sequential(twice, nn.Linear(4, 4), twice)) == ("1",)


if __name__ == "__main__":
    join(work)
