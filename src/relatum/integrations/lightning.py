"""Distillation in Lightning: a module for its Trainer, and a mix-in for modules of your own.

Both import names work, ``lightning`` and ``pytorch_lightning``. They are two families of classes,
so the module belongs to the one that is imported already, and to ``lightning`` where both are.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from relatum import world
from relatum.distiller import Distiller
from relatum.fit import Source
from relatum.integrations.samples import batch_of, check_accumulation, over_all
from relatum.schedules import Schedule, constant
from relatum.taps import Tapped
from relatum.types import Batch, Fault

STUDENT = "learner.student.network."
"""What the student's names in a checkpoint of Lightning begin with."""
_RANDOM = "relatum_random"


def _module() -> Any:
    """Lightning's own class, of the family that the caller uses."""
    names = ["lightning.pytorch", "pytorch_lightning"]
    if names[0] not in sys.modules and names[1] in sys.modules:
        names.reverse()
    for name in names:
        try:
            return import_module(name).LightningModule
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise Fault("relatum.integrations.lightning needs Lightning: pip install 'relatum[lightning]'")


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)


class Distilling:
    """All of a ``DistillationModule``, to be mixed into a ``LightningModule`` of your own.

    ``class Mine(Distilling, LightningModule)`` has it first; what it overrides calls these.

    Args:
        distiller: student, teacher and objective. Optimiser, DDP and checkpoints see what learns,
            the student and the losses' heads and memories, and never the teacher.
        optimizer: makes one from the parameters that learn; SGD at 0.05 with momentum 0.9 and
            weight decay 5e-4 by default, as the benchmark of CIFAR-100 has it.
        schedule: what its learning rate is multiplied by at every step, as a function of the
            progress of training from 0 to 1 (``relatum.schedules``).
        example: a batch, as loaders give them, to find the parameters that no loss reaches, and
            leave them out. DDP must know them; alone, it makes no difference to what is learnt.

    Raises:
        Fault: batches lack what a loss needs; or, once the training begins, gradients are
            accumulated where a loss compares samples or remembers them, a ``Loader`` gives all
            processes the same batches, or DDP waits for parameters that no loss reaches.
    """

    trainer: Any
    log_dict: Callable[..., None]
    log: Callable[..., None]
    device: torch.device
    learner: nn.Module

    def __init__(
        self,
        distiller: Distiller,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = _sgd,
        schedule: Schedule | None = None,
        example: Any = None,
    ) -> None:
        super().__init__()
        self.distiller = distiller  # no module: what it holds of the teacher is not seen
        self.learner = distiller.learner
        self._make, self._schedule = optimizer, schedule or constant()
        self._random: list[Tensor] | None = None
        self._reached = False
        if example is not None:
            distiller.rest(batch_of(example, distiller.objective))

    @property
    def student(self) -> Tapped:
        """The student, tapped; ``distiller.deployed()`` is the bare one."""
        return self.distiller.student

    def forward(self, images: Tensor) -> Tensor:
        """The student's output for images in [0, 1]."""
        return self.student(images).output  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what of the student rests."""
        super().train(mode)  # type: ignore[misc]
        if mode and hasattr(self, "distiller"):
            self.distiller.train()
        return self

    def on_fit_start(self) -> None:
        """Bring the teacher to where the student is now."""
        self.distiller.to(self.device)
        self.distiller.train()

    def on_train_start(self) -> None:
        """Draw on from where the checkpoint was taken."""
        if self._random is not None and world.size() == 1:
            torch.set_rng_state(self._random[0])
            if len(self._random) > 1 and self.device.type == "cuda":
                torch.cuda.set_rng_state(self._random[1], self.device)
        self._random = None

    def on_train_epoch_start(self) -> None:
        """Refuse to accumulate what cannot be, which a callback may have asked for just now."""
        check_accumulation(self.distiller.objective, self.trainer.accumulate_grad_batches)
        loader = self.trainer.train_dataloader
        if world.size() > 1 and isinstance(loader, Loader) and not loader.shared:
            raise Fault(
                f"{world.size()} processes would all train on the same batches: let each have its"
                " part of them by Batches(…, shared=True)"
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The losses of a batch; every term is logged as ``loss/NAME``, before its weight.

        On several processes these are means over all samples of a batch, taken when the Trainer
        logs (``log_every_n_steps``) and at an epoch's first and last batch: a monitor that looks
        more often sees the last ones.
        """
        batch = batch_of(batch, self.distiller.objective)
        steps = self.trainer.estimated_stepping_batches
        self.distiller.objective.at(min(1.0, self.trainer.global_step / steps))
        losses = self.distiller.losses(batch)
        if self._is_due(batch_idx):
            told = {**losses.parts, **losses.diagnostics}
            named = {f"loss/{name}": value for name, value in told.items()}
            self.log_dict(over_all({"loss": losses.total.detach(), **named}), batch_size=len(batch))
        return losses.total

    def _is_due(self, batch_idx: int) -> bool:
        """Whether losses are logged now: at every step, but where processes wait for each other."""
        if world.size() == 1 or batch_idx == 0 or self.trainer.is_last_batch:
            return True
        every = self.trainer.log_every_n_steps
        return bool(every) and (self.trainer.global_step + 1) % every == 0

    def on_after_backward(self) -> None:
        """Say after the first step what DDP would say at the second, and the way out."""
        network = self.trainer.strategy.model
        if self._reached or not isinstance(network, DistributedDataParallel):
            return
        self._reached = True
        named = self.distiller.learning()
        idle = [name for name, each in named.items() if each.grad is None]
        if idle and not (network.find_unused_parameters or network.static_graph):
            raise Fault(
                f"no loss reaches {idle[0]!r} ({len(idle)} parameters in all), and DDP would wait"
                " for them: DistillationModule(…, example=BATCH) finds them and leaves them out"
            )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """``validation_top1`` of the student in percent; without labels, ``validation_loss``."""
        batch = batch_of(batch, self.distiller.objective)
        if batch.labels is None:
            found = {"validation_loss": self.distiller.losses(batch).total}
        else:
            right = self(batch.images).argmax(1) == batch.labels  # type: ignore[operator]
            found = {"validation_top1": 100 * right.float().mean()}
        several = world.size() > 1
        self.log_dict(found, batch_size=len(batch), sync_dist=several, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser of what learns, and its learning rate, which moves at every step."""
        optimizer = self._make(self.distiller.parameters())
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self._schedule(min(1.0, step / steps))
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def transfer_batch_to_device(self, batch: Any, device: torch.device, place: int) -> Any:
        """A ``Batch`` by itself: Lightning takes no frozen dataclass apart."""
        if not isinstance(batch, Batch):
            return super().transfer_batch_to_device(  # type: ignore[misc]
                batch, device, place
            )
        labels = None if batch.labels is None else batch.labels.to(device)
        images, indices = batch.images.to(device), batch.indices.to(device)
        return Batch(images, labels, indices, batch.view, batch.shares)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Dropout goes on to the same bits; on several processes it draws anew."""
        checkpoint[_RANDOM] = [torch.get_rng_state()]
        if self.device.type == "cuda":
            checkpoint[_RANDOM].append(torch.cuda.get_rng_state(self.device))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Kept until the training begins, for Lightning draws meanwhile."""
        self._random = checkpoint.get(_RANDOM)


class Loader:
    """Batches of relatum's, as Lightning takes them: another order and augmentation every epoch.

    Args:
        batches: where the samples come from, on the device that the training is on. On several
            processes those of a training are ``Batches(…, shared=True)``.
    """

    batch_sampler = None

    def __init__(self, batches: Source) -> None:
        self._batches, self._epoch = batches, 1

    @property
    def shared(self) -> bool:
        """Whether each process of a training has its own part of every batch."""
        return bool(getattr(self._batches, "shared", True))

    @property
    def sampler(self) -> "Loader":
        """Itself: Lightning tells samplers which epoch it is."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """The next pass is of this epoch, from 0, as Lightning counts."""
        self._epoch = epoch + 1

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        # at the first batch, and not before: a training that goes on asks for this before set_epoch
        yield from self._batches.epoch(self._epoch)


def student_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The bare student's parameters and buffers, from a checkpoint of Lightning as it was loaded.

    Example:
        >>> student_state({"state_dict": {"learner.student.network.fc.bias": torch.zeros(2)}})
        {'fc.bias': tensor([0., 0.])}
    """
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    return {
        name.removeprefix(STUDENT): value
        for name, value in state.items()
        if name.startswith(STUDENT)
    }


_LightningModule: Any = _module()


class DistillationModule(Distilling, _LightningModule):  # type: ignore[misc]
    """A ``LightningModule`` around a ``Distiller``; see ``Distilling`` for its arguments.

    Example:
        >>> module = DistillationModule(distiller)  # doctest: +SKIP
        >>> Trainer(max_epochs=10).fit(module, loader, validation_loader)  # doctest: +SKIP
    """
