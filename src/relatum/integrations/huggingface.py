"""Distillation in the Trainer of Hugging Face's transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relatum import world
from relatum.any_teacher import is_teacher
from relatum.discovery import find_taps
from relatum.distiller import Distiller
from relatum.integrations.samples import batch_of, check_accumulation, over_all
from relatum.models.huggingface import HuggingFace
from relatum.objective import Objective
from relatum.taps import Tapped, Taps
from relatum.teachers import Teacher
from relatum.types import Batch, Fault, Images, Input
from relatum.weights import load_weights, save_weights

try:
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint
except ImportError as error:
    raise Fault(
        "relatum.integrations.huggingface needs transformers and accelerate:"
        " pip install 'relatum[huggingface]'"
    ) from error

OBJECTIVE = "objective.safetensors"
"""Where in a checkpoint the losses' heads and memories lie."""
USUAL = 224
"""Pixels of an example image, for models that are built for no size."""


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """A ``Trainer`` whose loss is an ``Objective``; it evaluates and saves the bare student.

    Labels are optional. A set whose losses keep a memory of samples has a column ``indices``.
    Every term is logged as ``loss_NAME``, before its weight. Checkpoints hold the bare student,
    as ``save_pretrained`` writes it, and beside it what the losses learnt. Gradient clipping is
    of the student alone.

    Args:
        model: the student: a model of transformers that classifies images, or gives an embedding.
        args: as ``Trainer`` takes them.
        teacher: a model of transformers, any network from images to one tensor, or what a
            ``Distiller`` takes: a ``Teacher``, a cached one, a table.
        objective: what is minimised.
        input: how ``pixel_values`` were normalised, as the student's image processor says
            (``Input(mean=processor.image_mean, std=processor.image_std)``). Where it is not
            given, both networks get them as they come.
        teacher_input: how the teacher wants images in [0, 1]; needs ``input``. That of
            ``input`` by default.
        taps: of the student; found in it by default.
        teacher_taps: likewise.
        example: two of ``pixel_values``, to find taps by; black ones by default, of the size
            that the model is built for, or of 224 pixels.
        named: all else that ``Trainer`` takes.

    Raises:
        Fault: the objective reads what the networks lack; gradients are accumulated where a loss
            compares samples or remembers them; or the model would be taken apart (FSDP,
            DeepSpeed, DataParallel).
    """

    def __init__(
        self,
        model: nn.Module,
        args: Any = None,
        *,
        teacher: Any,
        objective: Objective,
        input: Input | None = None,
        teacher_input: Input | None = None,
        taps: Taps | None = None,
        teacher_taps: Taps | None = None,
        example: Images | None = None,
        **named: Any,
    ) -> None:
        super().__init__(model, args, **named)
        self._check(objective)
        if teacher_input is not None and input is None:
            raise Fault("teacher_input is of images in [0, 1]: say by input how to get at those")
        self.model_accepts_loss_kwargs = False  # the loss is a mean, whatever the model could do
        self.input = input or Input()
        self._student = _Student(model)
        images = _example(model) if example is None else example
        images = images.to(next(model.parameters()))
        student = Tapped(
            self._student,
            find_taps(self._student, images) if taps is None else taps,
            Input(None, self.input.mean, self.input.std),
        )
        student.whole = world.size() > 1  # DDP waits for the end of a forward pass
        taught = _teacher(teacher, teacher_taps, teacher_input or self.input)
        self.distiller = Distiller(student, taught, objective).to(self.args.device)
        if world.size() > 1:
            _share(objective)
            # DDP would wait for what no loss reaches, as a classifier under relations alone
            self.distiller.rest(_of_zeros(images, self.args.per_device_train_batch_size))
        self._told: dict[str, Tensor] = {}
        self._passes = 0
        self.add_callback(_Keeps(objective))

    def _check(self, objective: Objective) -> None:
        check_accumulation(objective, self.args.gradient_accumulation_steps)
        if self.args.n_gpu > 1:
            raise Fault("DataParallel copies networks at every step: start by torchrun instead")
        if getattr(self, "is_fsdp_enabled", False) or getattr(self, "is_deepspeed_enabled", False):
            raise Fault("a student in parts (FSDP, DeepSpeed) cannot be read here; train it by DDP")

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The objective's total while training; the model's own loss when it is evaluated."""
        if not model.training or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._student.through(model)  # it may be wrapped, as by DDP
        objective = self.distiller.objective.train()
        objective.at(self.state.global_step / max(self.state.max_steps, 1))
        with self.accelerator.autocast():
            losses = self.distiller.losses(self._batch(inputs))
        for name, value in {**losses.parts, **losses.diagnostics}.items():
            self._told[name] = self._told.get(name, 0.0) + value.float()
        self._passes += 1
        return losses.total

    def _batch(self, inputs: Mapping[str, Any]) -> Batch:
        batch = batch_of(inputs, self.distiller.objective)
        tapped = self.distiller.student
        return Batch(batch.images * tapped.std + tapped.mean, batch.labels, batch.indices)

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **named: Any
    ) -> Any:
        """As ever: the student knows no indices."""
        known = {name: value for name, value in inputs.items() if name != "indices"}
        return super().prediction_step(model, known, *args, **named)

    def create_optimizer(self, *args: Any, **named: Any) -> Any:
        """That of the student, and of the losses' heads."""
        super().create_optimizer(*args, **named)
        known = {each for group in self.optimizer.param_groups for each in group["params"]}
        heads = [each for each in self.distiller.objective.parameters() if each.requires_grad]
        if more := [each for each in heads if each not in known]:
            decay = self.args.weight_decay
            self.optimizer.add_param_group({"params": more, "weight_decay": decay})
        return self.optimizer

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **named: Any) -> Any:
        """As ever; from a checkpoint, what the losses learnt comes back too."""
        place = resume_from_checkpoint
        if place is True:
            place = get_last_checkpoint(self.args.output_dir)
        if place and self.distiller.objective.state_dict():
            load_weights(self.distiller.objective, Path(place) / OBJECTIVE)
        return super().train(resume_from_checkpoint, *args, **named)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights by the names under which they were saved.

        transformers 5 saves those of ViT and others under older names, and its own Trainer then
        goes on with the weights that the model began with.
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if hasattr(self.model, "from_pretrained"):
            saved = type(self.model).from_pretrained(resume_from_checkpoint)
            self.model.load_state_dict(saved.state_dict())

    def log(self, logs: dict[str, float], *args: Any, **named: Any) -> None:
        """With the means of all terms since the last time."""
        if "loss" in logs and self._passes:
            told = {f"loss_{name}": value / self._passes for name, value in self._told.items()}
            logs = {**logs, **{name: value.item() for name, value in over_all(told).items()}}
            self._told, self._passes = {}, 0
        super().log(logs, *args, **named)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if "indices" not in self._signature_columns:
            self._signature_columns.append("indices")


class _Student(HuggingFace):
    """The student, run through whatever the Trainer wrapped around it."""

    def through(self, model: nn.Module) -> None:
        self._hidden = (model,)


class _Keeps(TrainerCallback):  # type: ignore[misc]
    """Does for the losses what the Trainer does for its model: forgets gradients, and saves."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # the Trainer asks its model to forget them, not the optimiser, so heads would add them up
        self._objective.zero_grad()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if state.is_world_process_zero and self._objective.state_dict():
            save_weights(self._objective, folder / OBJECTIVE)


def _teacher(teacher: Any, taps: Taps | None, input: Input) -> Any:
    """What a distiller takes for a teacher."""
    if is_teacher(teacher) or not isinstance(teacher, nn.Module):
        return teacher
    images = _example(teacher).to(next(teacher.parameters()))
    network = HuggingFace(teacher) if hasattr(teacher, "config") else teacher
    return Teacher(network, find_taps(network, images) if taps is None else taps, input)


def _example(model: nn.Module) -> Images:
    """Two black images of the size that a model is built for."""
    config: Any = getattr(model, "config", None)
    size = getattr(config, "image_size", None) or USUAL
    height, width = (size, size) if isinstance(size, int) else size
    return torch.zeros(2, getattr(config, "num_channels", None) or 3, height, width)


def _of_zeros(images: Images, length: int) -> Batch:
    """So many of these images, in turn, as a batch of which nothing else is known.

    As many as a step has: some losses are built for batches of one size.
    """
    numbers = torch.arange(length, device=images.device)
    return Batch(images[numbers % len(images)], torch.zeros_like(numbers), numbers)


def _share(objective: Objective) -> None:
    """Let the losses' heads be the same on all processes: DDP knows the student alone."""
    world.alike((*objective.parameters(), *objective.buffers()))
    for each in objective.parameters():
        if each.requires_grad:
            hook: Any = each.register_post_accumulate_grad_hook
            hook(_average)


def _average(parameter: Tensor) -> None:
    if parameter.grad is not None:
        world.average([parameter.grad])
