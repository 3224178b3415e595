"""One student, one teacher, one objective."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from difflib import get_close_matches
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from relatum import world
from relatum.any_teacher import AnyTeacher, is_teacher
from relatum.objective import Anchors, Losses, Objective
from relatum.profiling import labelled, region
from relatum.sharding import shard_learner, sharded
from relatum.taps import Tapped, at_rest
from relatum.types import Batch, Captured, Fault, Images

Around = Callable[[], AbstractContextManager[object]]
Teaches = Callable[[Batch], Captured]
_SYNCED: dict[str, Any] = next(
    {name: False}
    for name in ("forward_sync_buffers", "broadcast_buffers")  # in newer torch, and in older
    if name in inspect.signature(DistributedDataParallel.__init__).parameters
)
_NOTHING = Captured(torch.empty(0))
"""What a student says that nobody listens to."""


class Learner(nn.Module):
    """All that learns, and nothing else: what DDP, the optimiser and checkpoints see."""

    anchors: Tensor | None

    def __init__(
        self, student: Tapped, objective: Objective, anchors: Images | None = None
    ) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.register_buffer("anchors", anchors)
        self._silent = not (objective.accepts("student") or objective.accepts("student_anchors"))
        self._compiled: Callable[[Images], Captured] | None = None

    def forward(
        self, batch: Batch, taught: Captured | None, taught_anchors: Captured | None = None
    ) -> tuple[Losses, Captured]:
        """Let the student speak, and weigh what it said against what it was taught."""
        with region("student"):
            images = self.student.prepare(batch.images)
            said, anchors = self.say(images), None
            if self.anchors is not None:
                anchors = Anchors(self._read(self.student.prepare(self.anchors)), taught_anchors)
        with region("losses"):
            return self.objective(said, taught, batch, images, anchors), said

    @labelled("student")
    def say(self, images: Images) -> Captured:
        """What the student says of prepared images; nothing where nobody listens."""
        return _NOTHING if self._silent else self._read(images)

    def compile_student(self) -> None:
        """Let ``torch.compile`` fuse what the student computes while it trains."""
        self._compiled = torch.compile(self.student.read, dynamic=False)

    def _read(self, images: Images) -> Captured:
        if self._compiled is None or not self.training:  # at rest, a network is only looked at
            return self.student.read(images)
        return self._compiled(images)


class Distiller:
    """A learner and the teacher that it learns from.

    Args:
        student: the network that learns, tapped.
        teacher: the network that it learns from, or ``None`` where no term asks for one.
        objective: what is minimised.
        anchors: images in [0, 1] for losses that compare with fixed anchors. The student
            encodes them anew at every step, the teacher, which cannot change, once. They are
            saved with checkpoints. The student encodes them in its current mode, as RRKD's authors
            do: dropout is on, and BatchNorm sees them as a batch of their own.
        only: paths of the student's submodules that learn and are in training mode; all of it
            where none are given. The rest keeps its parameters and its statistics.
        drifting: let the rest be in training mode all the same: its parameters stay, but its
            statistics of BatchNorm move, as in published code that calls this frozen.

    Raises:
        Fault: a term needs a teacher or anchors and there are none, or reads a tap that a
            network lacks; or ``only`` names no submodule of the student.

    Example:
        >>> from relatum.losses import RRKD
        >>> from relatum.objective import Term
        >>> from relatum.taps import Tap
        >>> from relatum.teachers import Teacher
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> taps = {"embedding": Tap("1")}
        >>> teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(4, 8)), taps)
        >>> objective = Objective(rrkd=Term(RRKD(), on="embedding"))
        >>> distiller = Distiller(Tapped(network, taps), teacher, objective)
        >>> losses, said = distiller(Batch(torch.rand(5, 1, 2, 2), None, torch.arange(5)))
        >>> list(losses.parts)
        ['rrkd']
    """

    def __init__(
        self,
        student: Tapped,
        teacher: AnyTeacher | Teaches | None,
        objective: Objective,
        anchors: Images | None = None,
        *,
        only: Sequence[str] | None = None,
        drifting: bool = False,
    ) -> None:
        if teacher is None and objective.needs("teacher"):
            raise Fault("the objective compares with a teacher, but none was given")
        if anchors is None and objective.needs("student_anchors"):
            raise Fault("the objective compares with anchors, but none were given")
        if anchors is not None and not objective.accepts("student_anchors"):
            raise Fault("anchors were given, but no term of the objective uses them")
        uses = objective.accepts("teacher") or objective.accepts("teacher_anchors")
        if anchors is not None and uses and not (is_teacher(teacher) and teacher.encodes):
            raise Fault("anchors need a live teacher: they are encoded by both networks")
        _check_taps("student", objective, set(student.taps))
        if is_teacher(teacher):
            _check_taps("teacher", objective, set(teacher.taps), teacher.has_output)
        self.student = student
        self.objective = objective
        self._awake = None if only is None else _submodules(student.network, only)
        self._drifting = drifting
        self.last_taps = {  # up to which a network runs; to its end where there are none
            name: None if objective.reads_output(name) else frozenset(objective.reads(name)) or None
            for name in ("student", "teacher")
        }
        self.learner = Learner(student, objective, anchors)
        self.teacher = teacher if uses else None
        self._taught_anchors: Captured | None = None
        self._anchors_seen: int | None = None
        self._spread: nn.Module | None = None
        self._alike = self._rested = False

    def to(self, device: torch.device | str) -> Self:
        """Move all of it."""
        self.learner.to(device)
        if isinstance(self.teacher, nn.Module):
            self.teacher.to(device)
        self._anchors_seen = None
        return self

    def train(self) -> None:
        """Put what learns in training mode; a teacher stays as it is."""
        self.learner.train()
        if self._awake is not None and not self._drifting:
            self.student.network.eval()
            for module in self._awake:
                module.train()

    def __call__(self, batch: Batch) -> tuple[Losses, Captured]:
        """The losses of a batch, and what the student said about it."""
        with nullcontext() if self.teacher is None else region("teacher"):
            taught = None if self.teacher is None else self.teacher(batch)
        losses, said = (self._spread or self.learner)(batch, taught, self.taught_anchors())
        return losses, said

    def taught_anchors(self) -> Captured | None:
        """What the teacher says of fixed anchors: once, for neither of them can change."""
        teacher, anchors = self.teacher, self.learner.anchors
        if anchors is not None and self._anchors_seen != anchors._version and is_teacher(teacher):
            self._taught_anchors = teacher.encode(anchors)
            self._anchors_seen = anchors._version  # moves when a checkpoint is loaded
        return self._taught_anchors

    def shard(self, device: torch.device | str) -> None:
        """Hold the student and the losses' heads in parts, one on each process (FSDP2).

        After ``rest`` and before the optimiser is made, which sees the parts.
        """
        shard_learner(self.learner, self.student, device)

    def begin_alike(self) -> None:
        """Give all processes what the first one holds, once: they may have been built apart."""
        if not self._alike:
            world.alike((*self.learner.parameters(), *self.learner.buffers()))
            self._alike = True

    def spread(self, batch: Batch, around: Around = nullcontext) -> None:
        """Have all processes of a training learn the same, from now on, by DDP.

        They begin with what the first one holds. Relations are taken over the samples of all
        processes whether or not this was called; what DDP adds is the mean of the gradients.
        ``fit`` calls this by itself.

        Args:
            batch: any samples; nothing of the state moves. DDP is shown two steps, after which
                the order in which it sums gradients stays the same, so that a training that
                was resumed has the same bits. Parameters that no term reaches rest from now on.
            around: in which the networks run forward, as autocast.
        """
        if world.size() == 1 or self._spread is not None or sharded(self.learner):
            return  # a learner in parts averages by itself
        if not self._rested:
            self.rest(batch)
        self.begin_alike()
        # statistics of BatchNorm are averaged by the loop, queues and banks are equal by themselves
        self._spread = DistributedDataParallel(self.learner, **_SYNCED)
        for _ in range(2):
            with at_rest(self.learner), torch.enable_grad(), around(), self.until():
                losses, _ = self(batch)
            losses.total.backward()  # type: ignore[no-untyped-call]
            self.learner.zero_grad()

    def losses(self, batch: Batch) -> Losses:
        """The losses alone, as training wants them: no layer runs that no term reads.

        A decoder under a loss on the bottleneck, or the classifier of a teacher whose maps are
        read, would cost its time for nothing.
        """
        with self.until():
            losses, _ = self(batch)
        return losses

    @contextmanager
    def until(self) -> Iterator[None]:
        """Run both networks no further than to the last tap that is read, for a while."""
        teacher = self.teacher if is_teacher(self.teacher) else None
        with self._until(self.student, "student"), self._until(teacher, "teacher"):
            yield

    def _until(
        self, network: Tapped | AnyTeacher | None, name: str
    ) -> AbstractContextManager[None]:
        """End its forward passes behind the last tap that is read, if its output is not."""
        names = self.last_taps[name]
        return nullcontext() if network is None or names is None else network.until(names)

    def parameters(self) -> list[nn.Parameter]:
        """What learns: the student's parameters and those of the losses."""
        return [each for each in self.learner.parameters() if each.requires_grad]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters of the learner, the student's by the names that its network gives them."""
        named = self.learner.named_parameters()
        return {name.removeprefix("student.network."): each for name, each in named}

    def rest(self, batch: Batch) -> Sequence[str]:
        """Mark the parameters that no term reaches as not learning, and name them.

        A decoder under a loss on the bottleneck, or a classifier without labels, would only
        be decayed by an optimiser and waited for by DDP.

        Args:
            batch: any samples; nothing of the state moves.
        """
        named = self.learning()
        with at_rest(self.learner), torch.enable_grad(), self.until():
            losses, _ = self(batch)
            grads = torch.autograd.grad(losses.total, list(named.values()), allow_unused=True)
        return self.idle(name for name, grad in zip(named, grads, strict=True) if grad is None)

    def learning(self) -> dict[str, nn.Parameter]:
        """The parameters that may learn, by name: those of what ``only`` names, and the losses'."""
        if self._awake is not None:
            awake = {parameter for module in self._awake for parameter in module.parameters()}
            for parameter in self.student.network.parameters():
                parameter.requires_grad_(parameter.requires_grad and parameter in awake)
        return {n: p for n, p in self.named_parameters().items() if p.requires_grad}

    def idle(self, names: Iterable[str]) -> Sequence[str]:
        """Mark these parameters, which no term reaches, as not learning."""
        named, found = self.learning(), list(names)
        if len(found) == len(named):
            raise Fault("no term of the objective reaches a parameter of the student")
        for name in found:
            named[name].requires_grad_(False)
        self._rested = True
        return found

    def deployed(self) -> nn.Module:
        """What is evaluated and saved: the bare student."""
        return self.student.network


def _submodules(network: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    modules = dict(network.named_modules())
    for path in paths:
        if path not in modules:
            near = get_close_matches(path, modules, n=1, cutoff=0)
            raise Fault(f"the student has no submodule {path!r}; the nearest is {near[0]!r}")
    return [modules[path] for path in paths]


def _check_taps(network: str, objective: Objective, taps: set[str], speaks: bool = True) -> None:
    output = {"output"} if objective.reads_output(network) and not speaks else set()
    if missing := sorted((objective.reads(network) | output) - taps):
        has = ", ".join(sorted(taps)) or "none"
        raise Fault(f"the objective reads {', '.join(missing)} of the {network}, whose taps: {has}")
