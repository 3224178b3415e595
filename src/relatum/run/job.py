"""One run: a recipe trained, measured and recorded in a folder of its own."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from relatum import together
from relatum.checkpoint import Saver, Stop
from relatum.distiller import Distiller
from relatum.fit import Epoch, Position, fit
from relatum.methods import Stage
from relatum.profiling import labelled, region
from relatum.recipes.plan import Alteration, name_of
from relatum.recipes.recipe import Recipe
from relatum.record import GRADIENT_NORM, WEIGHTS, Record, Row, environment
from relatum.replay import Replay
from relatum.run import measure
from relatum.run.balanced import balanced
from relatum.run.beside import Alone, Seat
from relatum.run.claim import BEST, CHECKPOINT, claim, clear
from relatum.run.display import Display, Silent, watched
from relatum.run.hearing import Hearing
from relatum.run.lock import hold
from relatum.run.networks import about_network
from relatum.run.prepare import Prepared, optimizer_of, prepare, recipe_of
from relatum.run.profiled import profiled
from relatum.run.rows import go_on, note
from relatum.run.shown import keep_pictures
from relatum.run.tracked import tracked
from relatum.run.untaught import Lessons, in_words, untaught_layers, way_out
from relatum.run.watch import Watch, best_on_test, best_row, chosen_by
from relatum.weights import save_state, state_of


def run(
    recipe: Recipe,
    folder: Path,
    *,
    label: str | None = None,
    device: torch.device | str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    download: bool = False,
    stop: Stop | None = None,
    display: Display | None = None,
    alter: Alteration | None = None,
    beside: Seat | None = None,
    track: tuple[str, ...] = (),
) -> Record:
    """Do what a recipe says, and leave a folder that says what was done.

    The folder gets ``recipe.json``, ``metrics.jsonl`` (a line an epoch), ``checkpoint.pt``,
    ``student.safetensors`` (the bare student after the last epoch), ``best.safetensors`` (after
    the best by validation, where a part is cut for it), ``relations.safetensors`` and
    ``record.json``.

    On several processes (torchrun) all of them call it, and train one student together: the
    first one writes, and every one measures its part and gets the record.

    Args:
        recipe: what to do.
        folder: made if need be; a run that is there already is never overwritten unasked.
        label: what tables call it; the recipe's method by default.
        device: where.
        resume: go on with what is in the folder, to the same bits as without a break; a
            finished run is only read.
        overwrite: delete the run in the folder, as soon as nothing forbids the new one.
        download: fetch the set if it is missing.
        stop: asked after every step.
        display: told how far it is.
        alter: done to the distiller before training.
        beside: its place among trainings of this process that share their batches.
        track: trackers that are told of it too, by name (``relatum.trackers``).

    Raises:
        Fault: something that the user can mend; or another process is at this run.
        NotFinite: a loss became infinite or not a number.
        Interrupted: it was asked to stop, and did after saving.
    """
    job = _Run(
        recipe,
        folder,
        label,
        torch.device(device),
        stop or Stop(),
        display or Silent(),
        alter,
        beside or Alone(),
    )
    claimed = partial(claim, recipe, folder, resume, overwrite)
    if finished := together.by_first(claimed):
        return finished
    with hold(folder):  # another process may have begun here, or ended, in the meantime
        if finished := together.by_first(claimed):
            return finished
        with (
            tracked(job.display, track, recipe, folder, job._label) as job.display,
            profiled(recipe, folder, job._label, job.device, job.display),
        ):
            return job.go(download, overwrite)


@dataclass
class _Run:
    recipe: Recipe
    folder: Path
    label: str | None
    device: torch.device
    stop: Stop
    display: Display
    alter: Alteration | None
    beside: Seat | Alone
    hear: Hearing = field(default_factory=Hearing)
    remarks: list[str] = field(default_factory=list)
    watch: Watch = field(init=False)
    weights: dict[str, float] = field(default_factory=dict)

    def go(self, download: bool, overwrite: bool) -> Record:
        ready = prepare(self.recipe, self.device, download, stop=self.stop, progress=self.display)
        for warning in ready.warnings(self.recipe):
            self.display.note(f"note: {warning}")
        self.watch = Watch(self.recipe, ready.pair, ready.sets, self.hear)
        self.watch.check(ready.stages[-1].objective, self._remark)
        cost = ready.cost()
        rows: list[Row] = []
        lessons = Lessons()
        for number, stage in enumerate(ready.stages):
            distiller, resting = ready.distiller(stage, self.alter)
            lessons.add(distiller, resting)
            if stage is ready.stages[-1]:
                self._check_embedding(ready, lessons)
            before = None if overwrite else self.folder / CHECKPOINT
            of_stage = (stage, distiller, ready, self.recipe, self.display, before)
            self.weights = balanced(*of_stage)
            if "student" in self.recipe.shard:
                distiller.shard(self.device)
            if not number:  # all that could be refused was not
                together.by_first(lambda: clear(self.recipe, self.folder, overwrite))
            self._train(number, stage, distiller, ready, rows)
        return self._finish(ready, rows, lessons.idle, cost)

    def _check_embedding(self, ready: Prepared, lessons: Lessons) -> None:
        if layers := untaught_layers(ready.pair.student, ready.sets.shape, lessons.idle):
            self._remark(f"{self.recipe.method}: {in_words(layers)}; {way_out(self.recipe)}")

    def _train(
        self,
        number: int,
        stage: Stage,
        distiller: Distiller,
        ready: Prepared,
        rows: list[Row],
    ) -> None:
        recipe, batches = recipe_of(stage, self.recipe), ready.batches
        epochs = recipe.epochs
        optimizer = optimizer_of(recipe, distiller)
        saver = Saver(
            self.folder / CHECKPOINT,
            distiller,
            optimizer,
            ready.about(self.recipe, name_of(self.alter), self.weights),
            self.stop,
            stage=number,
        )
        if saver.stage_reached() > number:
            return  # a later stage was under way, and its checkpoint holds all that this one did
        position = saver.restore() or Position()
        done = position.epoch - 1
        rows[:] = together.by_first(lambda: go_on(self.folder, number, done))
        steps = len(batches)
        self.display.begin(self._label, epochs * steps, done * steps + position.step)
        schedule = recipe.schedule_of()
        replay = Replay() if ready.speed.replayed else None
        norms = self.watch.norms(distiller, ready.microbatch, ready.speed, self._remark)
        source = self.beside.share(distiller, batches, ready.pair.teacher_sha256)
        for epoch in fit(
            distiller,
            watched(source, self.display),
            optimizer,
            schedule,
            epochs,
            precision=ready.speed.precision,
            microbatch=ready.microbatch,
            start=position,
            saver=saver,
            replay=replay,
            norms=norms,
        ):
            if replay is not None and replay.obstacle:
                self._remark(f"its steps are not replayed: {replay.obstacle}")
            rate = recipe.learning_rate * schedule((epoch.number - 1) / max(epochs, 1))
            row = self._row(number, epoch, epochs, rate, ready, rows)
            rows.append(row)
            together.by_first(partial(note, self.folder, row))
            self.display.epoch(row, epochs)
        if position.epoch <= epochs:
            with region("checkpoint"):
                saver.save(Position(epochs + 1))

    def _remark(self, text: str) -> None:
        """Say something once, and keep it for the record."""
        if text not in self.remarks:
            self.remarks.append(text)
            self.display.note(f"note: {text}")

    @property
    def _label(self) -> str:
        return self.label or self.recipe.method

    @labelled("checkpoint")
    def _save_weights(self, name: str, ready: Prepared) -> None:
        about = about_network(self.recipe, ready.sets, ready.pair)
        state = state_of(ready.pair.student.network)  # all processes hold some of it
        together.by_first(lambda: save_state(state, self.folder / name, about))

    def _best(self, rows: list[Row]) -> int | None:
        return best_row(rows, chosen_by(self.watch.pair.setting, self.recipe))

    @labelled("evaluation")
    def _row(
        self,
        number: int,
        epoch: Epoch,
        epochs: int,
        rate: float,
        ready: Prepared,
        rows: list[Row],
    ) -> Row:
        metrics = self.watch.after(epoch.number, epochs, ready.stages[number].objective)
        metrics |= {f"{GRADIENT_NORM}{name}": value for name, value in epoch.gradient_norms.items()}
        row = Row(
            stage=number,
            epoch=epoch.number,
            learning_rate=rate,
            losses=dict(epoch.losses),
            metrics=metrics,
            steps=epoch.steps,
            samples=epoch.samples,
            seconds=epoch.seconds - self.beside.waited(),
        )
        row = together.by_first(lambda: row)  # so that no rounding makes one of them save alone
        if self._best([*rows, row]) == len(rows):
            self._save_weights(BEST, ready)
        return row

    @labelled("evaluation")
    def _finish(
        self,
        ready: Prepared,
        rows: list[Row],
        idle: tuple[str, ...],
        cost: tuple[int, int, int],
    ) -> Record:
        recipe, sets, pair = self.recipe, ready.sets, ready.pair
        student, objective = pair.student, ready.stages[-1].objective
        hear = self.hear
        last = measure.measure(student, pair.teacher, pair.setting, sets.test, hear=hear)
        last = measure.learnt(last, objective, recipe)
        metrics = last | measure.probe(student, recipe, sets, hear)
        teacher = measure.record_teacher(pair, recipe, sets, hear)
        if teacher is not None:
            metrics |= measure.share_kept(metrics, teacher.metrics)
        self._save_weights(WEIGHTS, ready)
        keep_pictures(self.folder, pair, sets.test, hear)
        best = self._best(rows)
        if best is not None:
            found = last
            if best < len(rows) - 1:
                found = measure.other_weights(pair, self.folder / BEST, sets.test, hear)
            found = measure.learnt(found, objective, recipe)
            metrics |= {f"best_{name}": value for name, value in found.items()}
        metrics |= best_on_test(rows)
        whole, encoder, work = cost
        record = Record(
            label=self._label,
            recipe=recipe,
            altered=name_of(self.alter),
            environment={**environment(self.device), "precision": ready.precision},
            notes=(*ready.notes(recipe), *self.watch.notes(chosen=best is not None), *self.remarks),
            idle=idle,
            classes=sets.classes,
            parameters=whole,
            encoder_parameters=encoder,
            macs=work,
            samples=sets.samples,
            rows=tuple(rows),
            metrics=metrics,
            teacher=teacher,
            weights=self.weights,
            begin_sha256=pair.begin_sha256,
            best_epoch=None if best is None else rows[best].epoch,
            seconds=sum(row.seconds for row in rows),
        )
        together.by_first(lambda: record.save(self.folder))
        self.display.end(record)
        return record
