"""All that a recipe names, ready to be trained: sets, networks, stages, batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relatum import world
from relatum.accumulate import coupling_layer, rest
from relatum.any_teacher import AnyTeacher
from relatum.cache import Progress
from relatum.checkpoint import Stop
from relatum.data import Batches
from relatum.data.seeds import generator
from relatum.distiller import Distiller
from relatum.evaluate import encoder_parameters, macs, parameters
from relatum.grammar import adopts, stages
from relatum.losses import SP
from relatum.methods import TASK, Stage
from relatum.recipes.plan import Alteration
from relatum.recipes.recipe import Recipe
from relatum.run.anchors import anchors_of
from relatum.run.claim import MOVABLE
from relatum.run.networks import Pair, pair_of
from relatum.run.remembered import Speaker, who_teaches
from relatum.run.run_teacher import tapped_of
from relatum.run.sets import Sets, sets_of, training_batches
from relatum.run.several_teachers import SeveralTeachers
from relatum.run.shares import check_shares
from relatum.run.sizes import enlarged
from relatum.run.threads import set_threads
from relatum.sharding import sharded
from relatum.speed import Speed, settle, speed
from relatum.types import Fault, Images


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe's parts, on the device.

    Attributes:
        sets: the images.
        pair: the networks.
        stages: what is minimised, one after the other.
        batches: what is trained on.
        anchors: fixed images that RRKD compares with, if there are any.
        learning: the student's parameters that its maker did not freeze.
        speed: what may be given up for time.
        teacher: who teaches: that of the pair, a quicker copy of it, or what either said once.
        speakers: the networks that it consists of.
        microbatch: samples that go through the networks at a time, where that is fewer than all.
    """

    sets: Sets
    pair: Pair
    stages: tuple[Stage, ...]
    batches: Batches
    anchors: Images | None
    learning: frozenset[str]
    speed: Speed
    teacher: AnyTeacher | None
    speakers: tuple[Speaker, ...] = ()
    microbatch: int | None = None

    def distiller(
        self, stage: Stage, alter: Alteration | None = None
    ) -> tuple[Distiller, Sequence[str]]:
        """What trains in a stage, and the names of the parameters that do not learn in it."""
        distiller = Distiller(
            self.pair.student,
            self.teacher,
            stage.objective,
            self.anchors if stage.objective.accepts("student_anchors") else None,
            only=stage.only,
            drifting=stage.drifting,
        )
        distiller.to(self.sets.train.device)
        for name, parameter in self.pair.student.named_parameters():
            parameter.requires_grad_(name in self.learning)  # a stage before may have rested it
        if alter is not None:
            alter(distiller, self.sets.train)
        batch = next(self.batches.epoch(1))
        if self.microbatch is not None:
            resting = rest(distiller, batch, self.microbatch)
        else:
            resting = distiller.rest(batch)
        if self.speed.compiled:
            distiller.learner.compile_student()
        return distiller, resting

    @property
    def precision(self) -> str:
        """Of the networks, by name."""
        return str(self.speed.precision).removeprefix("torch.")

    def about(
        self, recipe: Recipe, altered: str, weights: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """What a checkpoint is of, and refused by where it differs; with the weights found."""
        fields = recipe.model_dump(mode="json", exclude=set(MOVABLE))
        fields["precision"] = self.precision  # "auto" is another on another processor
        sums = {each: getattr(self.pair, each) for each in ("teacher_sha256", "begin_sha256")}
        if recipe.balance is None:  # which checkpoints of before do not know
            del fields["balance"]
        if not recipe.skip_broken:  # likewise
            del fields["skip_broken"]
        later = ("watch", "watch_every", "best_by", "gradient_norms")
        for name in (*later, "student_size", "teacher_size"):  # likewise
            if getattr(recipe, name) == Recipe.model_fields[name].default:
                del fields[name]
        found = {"weights": dict(weights)} if weights else {}
        return {**fields, **sums, "altered": altered, **found}

    def cost(self) -> tuple[int, int, int]:
        """The student's parameters, those of them that its embedding needs, its multiply-adds."""
        student, shape = self.pair.student, self.sets.shape
        whole = parameters(student.network)
        encoder = encoder_parameters(student, shape) if "embedding" in student.taps else whole
        return whole, encoder, macs(student, shape)

    def notes(self, recipe: Recipe) -> tuple[str, ...]:
        """What the run decided by itself, in sentences."""
        notes = [self.sets.note] if self.sets.note else []
        if self.pair.teacher is not None:
            notes += self.pair.teacher.notes(bool(recipe.augment))
        notes += self._hurry(recipe)
        terms = self.stages[-1].objective.terms
        if recipe.method != "none" and TASK not in terms:
            why = "no labels are used"
            if adopts(recipe.method):
                why = "its classifier is the teacher's"
            elif self.pair.setting.classes is not None:
                why = f"it puts out a{'n' * (self.pair.setting.student_says[0] == 'e')}"
                why += f" {self.pair.setting.student_says}, no logits"
            notes.append(f"the student learns from its teacher alone: {why}")
        if recipe.anchors != "batch" and self.anchors is None:
            notes.append("no term of this method uses anchors, so there were none")
        return (*notes, *self.warnings(recipe))

    def _hurry(self, recipe: Recipe) -> Iterator[str]:
        """What was given up for time."""
        if not self.speed.quick:
            return
        done = ["channels last", *(["compiled"] if self.speed.compiled else [])]
        folded = sum(each.teacher.folded for each in self.speakers)
        if folded:
            done.append(f"{folded} norms of the teacher folded into the layers before them")
        yield f"speed {recipe.speed}: networks in {self.precision}, {', '.join(done)}"

    def warnings(self, recipe: Recipe) -> Iterator[str]:
        """Images that are left out, streamed or enlarged; what several teachers count, and what is
        read for want of maps; where BatchNorm makes a batch in parts another one than the batch
        as a whole."""
        yield from self.sets.said
        if isinstance(self.pair.teacher, SeveralTeachers):
            yield self.pair.teacher.counts
        yield from self._without_maps()
        yield from enlarged(self.pair.student, tapped_of(self.pair.teacher), self.sets.shape)
        layer = next(filter(None, map(coupling_layer, self._training())), None)
        if layer is None:
            return
        if self.microbatch is not None:
            yield (
                f"the student has BatchNorm ({layer}): it normalises each microbatch of"
                f" {self.microbatch} by itself, so this is not the training of a batch of"
                f" {recipe.batch_size}; a student without BatchNorm is trained exactly so"
            )
        elif world.size() > 1 and not recipe.sync_batchnorm:
            yield (
                f"the student has BatchNorm ({layer}): each of {world.size()} processes normalises"
                f" its own {self.batches.largest} samples by themselves; --sync-batchnorm (on GPUs)"
                " takes those of all"
            )

    def _without_maps(self) -> Iterator[str]:
        setting, terms = self.pair.setting, self.stages[-1].objective.terms.values()
        lacking = any("maps" not in each for each in (setting.student, setting.teacher or {}))
        if lacking and any(isinstance(each.loss, SP) for each in terms):
            several = "several teachers have no feature maps in common"
            why = several if setting.shares else "one of the networks has no feature maps"
            yield f"SP reads the embedding: {why}"

    def _training(self) -> Iterator[nn.Module]:
        """The parts of the student that are in training mode in some stage."""
        network = self.pair.student.network
        for stage in self.stages:
            whole = stage.only is None or stage.drifting
            yield from [network] if whole else map(network.get_submodule, stage.only or ())


def prepare(
    recipe: Recipe,
    device: torch.device,
    download: bool = False,
    stand_in: str | None = None,
    *,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Load and build what a recipe names. Seeds the randomness of the process.

    Args:
        recipe: what is run.
        device: where.
        download: fetch the set if it is missing.
        stand_in: a model that takes the teacher's place, untrained, for a rehearsal.
        stop: asked while a cache is filled.
        progress: told how far that is.

    Raises:
        Fault: something is unknown, missing, damaged, or does not fit.
        Interrupted: it was asked to stop.
    """
    sets = sets_of(recipe, device, download)
    pace = speed(recipe.speed, device, recipe.precision)
    settle(recipe.speed, device)
    torch.manual_seed(recipe.seed)
    pair = pair_of(recipe, sets, device, stand_in)
    set_threads(recipe, sets, pair)
    plan = _planned(recipe, pair)
    batches = training_batches(recipe, sets)
    if pair.teacher is not None and "teacher" in recipe.shard:
        pair.teacher.shard(device)  # after the stages, which may copy a part of it
    wanted = any(stage.objective.accepts("student_anchors") for stage in plan)
    anchors = anchors_of(recipe, sets, pair) if wanted else None
    named = pair.student.named_parameters()
    learning = frozenset(name for name, each in named if each.requires_grad)
    if world.rank():  # built alike; from here on dropout draws for samples of its own
        torch.manual_seed(generator(recipe.seed, "process", world.rank()).initial_seed())
    small = recipe.microbatch is not None and recipe.microbatch < batches.largest
    microbatch = recipe.microbatch if small else None
    if pace.quick:
        pair.student.channels_last()
    teacher, speakers = who_teaches(
        recipe,
        pair.teacher,
        sets,
        batches,
        plan,
        pace,
        keeps=recipe.cache is not None and stand_in is None,
        stop=stop,
        progress=progress,
    )
    return Prepared(
        sets=sets,
        pair=pair,
        stages=plan,
        batches=batches,
        anchors=anchors,
        learning=learning,
        speed=pace,
        teacher=teacher,
        speakers=speakers,
        microbatch=microbatch,
    )


def _planned(recipe: Recipe, pair: Pair) -> tuple[Stage, ...]:
    """The stages of a recipe's method. The student is built before them, so that one seed gives
    all methods the same one to begin with."""
    plan = stages(recipe.method, pair.setting)
    check_shares(recipe, plan[-1].objective)
    if "student" in recipe.shard and len(plan) > 1:
        raise Fault(
            f"{recipe.method} trains in {len(plan)} stages, and a student in parts can have one;"
            " leave the student out of --set shard=…"
        )
    return plan


def recipe_of(stage: Stage, recipe: Recipe) -> Recipe:
    """The recipe of one stage: its epochs, its learning rate, its schedule."""
    epochs = stage.epochs(recipe.epochs)
    if stage.schedule == "constant":
        recipe = recipe.but(schedule="constant", milestones=())
    if epochs != recipe.epochs:
        recipe = recipe.shortened(epochs)
    return recipe.but(learning_rate=stage.learning_rate or recipe.learning_rate)


def optimizer_of(recipe: Recipe, distiller: Distiller) -> torch.optim.Optimizer:
    """SGD over all that learns, its learning rate a tensor where the device can use one."""
    device = next(distiller.learner.parameters()).device
    fused = device.type in ("cpu", "cuda") and not sharded(distiller.learner)
    rate: float | Tensor = recipe.learning_rate
    if fused:
        rate = torch.tensor(recipe.learning_rate, device=device)
    return torch.optim.SGD(
        distiller.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )
