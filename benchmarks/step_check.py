"""Whether the straightforward loop and relatum's are the same training, to the rounding of sums."""

from collections.abc import Iterator

from step_settings import Settings
from step_ways import Ours, samples_of, usual
from torch.utils.data import DataLoader
from usual_loop import UsualLoop

from relatum import Batch
from relatum.distiller import Distiller
from relatum.fit import fit
from relatum.methods import TASK
from relatum.run.prepare import optimizer_of

CHECKED, RATE = 4, 1e-3
"""Steps in which both must give the same losses, and their learning rate."""


def losses_apart(settings: Settings, steps: int = CHECKED) -> float:
    """How far the losses of the first steps are apart, at most, as a share of themselves.

    Both begin with the same weights, heads and queue, and see the same images unchanged in the
    same order. The learning rate is low: at the protocol's, SP's weight of 3,000 makes a thousand
    times as much of a difference in the last bit within four steps.
    """
    recipe = settings.recipe(augment=(), samples=settings.batch * steps, learning_rate=RATE)
    ours = Ours(recipe, settings.device)
    loop = usual(settings, ours.ready, RATE)
    copy_heads(ours.distiller, loop)
    batches = list(ours.ready.batches.epoch(1))
    optimizer = optimizer_of(ours.recipe, ours.distiller)
    source = OneStepEpochs(batches)
    epochs = fit(ours.distiller, source, optimizer, ours.recipe.schedule_of(), steps)
    said = [tuple(epoch.losses[name] for name in (TASK, settings.method)) for epoch in epochs]
    samples = samples_of(ours.ready, augment=False)
    order = [batch.indices.tolist() for batch in batches]
    heard = loop.train(DataLoader(samples, batch_sampler=order))
    pairs = [pair for each in zip(said, heard, strict=True) for pair in zip(*each, strict=True)]
    return max(abs(one / two - 1) for one, two in pairs)


def copy_heads(distiller: Distiller, loop: UsualLoop) -> None:
    """Give the straightforward loss the heads and the queue that relatum's begins with."""
    (term,) = (each for name, each in distiller.objective.terms.items() if name != TASK)
    own, there = term.loss.state_dict(), loop.loss.state_dict()
    loop.loss.load_state_dict({name: own[name] for name in there})


class OneStepEpochs:
    """Epochs of one step each, so that ``fit`` tells the loss of every step."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batch of this number."""
        yield from self._batches[number - 1 : number][start:]
