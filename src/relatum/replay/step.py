"""A training's steps: the first ones as ever, the others played from a recording of one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from relatum.data.batches import Drawn, Plan
from relatum.distiller import Distiller
from relatum.replay.fixed import Granted, first_change, generators, granted, of_losses
from relatum.replay.graph import CudaGraph, Recording
from relatum.replay.obstacle import Drawing, obstacle
from relatum.types import Batch, first_line

WARM = 3
"""Steps before one is recorded: by then libraries are loaded, chosen between and compiled."""
Row = tuple[Mapping[str, Tensor], int]
"""What a step tells: values by name, and how many of them, the first, are losses."""
Update = Callable[[Batch], Row]


class Replay:
    """Records one step of a training, and plays it instead of all that follow.

    A step cuts a batch out of the resident set, augments it, runs both networks and the losses
    forward and back, and updates: thousands of kernels, each of which Python and torch take
    longer to ask for than a GPU takes to run it, where networks are small. A recording asks for
    all of them at once. It knows addresses, not Python: what changes from step to step lies in
    tensors that stay where they are (the indices of the batch, the parameters of the augmentations,
    the learning rate, the weights of terms, queues, banks and keys), and is written before it is
    played.

    Nothing is trained twice: the steps before the recording are steps of the training, and to
    record is to do nothing. A short last batch goes the usual way, through the same tensors. So the
    training is the same one, to the bit where the device gives one function one result.

    What a recording takes for granted is looked at when an epoch begins, and for losses that move
    with the training at every step: where it has changed, a new one is made, or none any more.
    Hooks of modules are not called by a played step.

    Args:
        recording: makes what steps are recorded in; a CUDA graph where none is given.

    Attributes:
        obstacle: why steps are not played, if they are not.
        played: how many were.
    """

    def __init__(self, recording: Callable[[], Recording] | None = None) -> None:
        self._recordings = recording
        self.obstacle: str | None = None
        self.played = 0

    def begin(
        self,
        distiller: Distiller,
        optimizer: torch.optim.Optimizer,
        source: object,
        update: Update,
        microbatch: int | None = None,
    ) -> bool:
        """Take the steps of a training from now on, if nothing stands against it, and say whether.

        Args:
            distiller: what is trained.
            optimizer: by which.
            source: on what.
            update: one step, given a batch: what is recorded. Its learning rate and the weights
                of its terms are set outside of it.
            microbatch: samples that go through the networks at a time, if not all.
        """
        self._distiller, self._optimizer, self._update = distiller, optimizer, update
        self._source = source
        losses = distiller.objective.losses.values()
        self._moving = [each for each in losses if callable(getattr(each, "at", None))]
        teacher = distiller.teacher
        self._by_view = teacher is not None and getattr(teacher, "views", 2) > 1
        self._plan: Plan | None = None
        self._from: Drawn | None = None
        self._recording: Recording | None = None
        self.end()
        anywhere = self._recordings is not None
        self.obstacle = obstacle(distiller, optimizer, source, microbatch, anywhere=anywhere)
        return self.obstacle is None

    def end(self) -> None:
        """Let go of the recording, and of the memory that it holds."""
        self._indices: Tensor | None = None
        self._told: Row | None = None
        if self._recording is not None:
            self._recording.forget()
        self._recording, self._warm = None, 0

    def epoch(self, number: int, start: int = 0) -> Iterator[Drawn]:
        """The batches of an epoch, for ``__call__``: drawn, and not cut."""
        if self._told is not None and first_change(self._granted, self._now()):
            self.end()
        assert isinstance(self._source, Drawing)
        return self._source.drawn(number, start)

    def __call__(self, drawn: Drawn) -> Row:
        """Take one step."""
        moved = None if self._told is None else first_change(self._moved, of_losses(self._moving))
        if moved is not None:
            self._give_up(f"{moved} changes as the training proceeds, and is no tensor")
        if self.obstacle is not None or len(drawn) < drawn.source.largest:
            if self._told is None:  # what a short one may set off is to be over by then
                self._warm = min(self._warm, WARM - 1)
            return self._update(drawn.cut())
        self._put(drawn)
        if self._warm < WARM:
            return self._take()
        if self._told is None:
            self._record()
        if self._told is None or self._recording is None:
            return self._update(drawn.cut())
        self._recording.play()
        self.played += 1
        return self._told

    def _put(self, drawn: Drawn) -> None:
        """Put what differs in this step where the step reads it."""
        if self._plan is None or self._from is None or not _alike(self._from, drawn):
            self.end()
            self._plan, self._from = drawn.plan, drawn
        elif self._from.plan is not drawn.plan:
            if self._by_view and self._from.plan.view != drawn.plan.view:
                self._told = None  # a number of Python, of which every one has its recording
            for kept, new in zip(self._plan.tensors(), drawn.plan.tensors(), strict=True):
                kept.copy_(new)
            self._plan, self._from = replace(self._plan, view=drawn.plan.view), drawn
        if self._indices is None:
            self._indices = drawn.indices.clone()
        else:
            self._indices.copy_(drawn.indices)

    def _step(self) -> Row:
        """What is recorded: a function of tensors that stay where they are."""
        assert self._plan is not None
        assert self._from is not None
        assert self._indices is not None
        return self._update(self._from.source.cut(self._plan, self._indices))

    def _take(self) -> Row:
        """A step as ever, where the next may be recorded; the last such shows what stays."""
        if self._recording is None:
            self._recording = self._new()
        self._warm += 1
        last = self._warm == WARM
        before = self._now() if last else {}
        with self._recording.aside():
            row = self._step()
        if last and (change := first_change(before, self._now())) is not None:
            self._give_up(f"{change} is another after every step, and no tensor in its place")
        return row

    def _record(self) -> None:
        assert self._recording is not None
        self._granted, self._moved = self._now(), of_losses(self._moving)
        try:
            self._told = self._recording.record(self._step)
        except Exception as error:
            self._give_up(f"a step cannot be recorded: {first_line(error)}")

    def _new(self) -> Recording:
        if self._recordings is not None:
            return self._recordings()
        learner = self._distiller.learner
        device = next(iter(learner.parameters())).device
        return CudaGraph(device, [each for _, each in generators(learner)])

    def _now(self) -> Granted:
        return granted(self._distiller, self._optimizer)

    def _give_up(self, why: str) -> None:
        """Go on as ever, from where the training is."""
        self.end()
        self.obstacle = why
        self._optimizer.zero_grad(set_to_none=True)  # of a step that was recorded halfway


def _alike(one: Drawn, other: Drawn) -> bool:
    """Whether what one draws can be put in the place of the other."""
    pairs = [[(each.shape, each.dtype) for each in it.plan.tensors()] for it in (one, other)]
    return one.source is other.source and len(one) == len(other) and pairs[0] == pairs[1]
