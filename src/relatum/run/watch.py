"""What is measured after an epoch, and what the best epoch is chosen by: never the test images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from relatum.data import ImageSet
from relatum.data.chosen import evenly
from relatum.distiller import Distiller
from relatum.evaluate import MUCH, VOTES, accuracy, by_chance, retrieval
from relatum.gradient_norms import Norms, obstacle
from relatum.methods import Setting
from relatum.objective import Objective
from relatum.recipes.recipe import Recipe
from relatum.record import WATCHED, Row
from relatum.run import measure
from relatum.run.hearing import Hearing, listen
from relatum.run.networks import Pair
from relatum.run.sets import Sets
from relatum.speed import Speed
from relatum.types import Fault

VALIDATED = 500
"""Validation images whose relations are compared, the first ones of them."""
BANK = 10_000
"""Training images that k-NN votes by, and that a linear probe is fitted on, while training."""
BY_LABELS = ("knn", "linear", "retrieval")
"""What is told the classes."""
BY_TEACHER = ("neighbours", "gap")
"""What compares the embeddings of both networks."""
LESS = ("gap_cosine", "reconstruction")
"""Metrics of which less is better."""


@dataclass
class Watch:
    """What is measured of a run's student after its epochs.

    Attributes:
        recipe: says what, and how often.
        pair: the networks.
        sets: the images; of the test part only accuracy is noted, where the recipe wants it.
        hear: remembers what a frozen teacher said.
    """

    recipe: Recipe
    pair: Pair
    sets: Sets
    hear: Hearing

    def after(self, epoch: int, last: int, objective: Objective) -> dict[str, float]:
        """What is measured after an epoch, by the names that a row gives it.

        Args:
            epoch: its number, from 1.
            last: that of the last one.
            objective: what the student was taught by.
        """
        recipe, student = self.recipe, self.pair.student
        self.hear.forget(student)  # which has learnt since
        found: dict[str, float] = {}
        if self.sets.validation is not None:
            due = epoch % recipe.watch_every == 0 or epoch == last
            told = self._validated(self.sets.validation, due)
            told = measure.learnt(told, objective, recipe)
            found = {f"validation_{name}": value for name, value in told.items()}
        told_classes = self.pair.setting.supervised and measure.taught_output(objective, recipe)
        if recipe.watch_test and told_classes:
            found["test_top1"] = self._on_test()
        return found

    def _validated(self, data: ImageSet, due: bool) -> dict[str, float]:
        """Cheap things after every epoch, and what "best" needs; the rest when it is due."""
        recipe, pair = self.recipe, self.pair
        watch = recipe.watch if due else ()
        usual = recipe.best_by is None and chosen_by(pair.setting, recipe) == "gap_cosine"
        found = measure.measure(
            pair.student,
            pair.teacher,
            pair.setting,
            data,
            related=VALIDATED if usual or "gap" in watch else 0,
            near=measure.NEAR if "neighbours" in watch else 0,
            hear=self.hear,
        )
        return found | self._by_labels(data, watch)

    def _by_labels(self, data: ImageSet, watch: Sequence[str]) -> dict[str, float]:
        if not set(watch) & set(BY_LABELS):
            return {}
        said = self.hear(self.pair.student, data)
        assert said.labels is not None
        ours, labels = said.values["embedding"], said.labels
        found: dict[str, float] = {}
        if fitted := tuple(each for each in watch if each in ("linear", "knn")):
            bank = listen(self.pair.student, self._bank, ("embedding",))
            found |= measure.fitted(bank, said, fitted, self.recipe.seed)
        if "retrieval" in watch:
            found |= measure.ranked(retrieval(ours, labels))
        return found

    @cached_property
    def _bank(self) -> ImageSet:
        train = self.sets.train
        return train if len(train) <= BANK else train.take(evenly(len(train), BANK))

    def _on_test(self) -> float:
        """Accuracy on the test images: noted, and nothing is chosen by it."""
        said = self.hear(self.pair.student, self.sets.test)
        assert said.labels is not None
        return accuracy(said.values["output"], said.labels)["top1"]

    def check(self, objective: Objective, remark: Callable[[str], None]) -> None:
        """Look, before training, at what can be measured of what is wanted.

        What another method of the same table may have, and this one has not, is left out: a
        student alone has no teacher to agree with.

        Args:
            objective: of the last stage.
            remark: told what is left out.

        Raises:
            Fault: it needs labels, an embedding or classes that no method would have.
        """
        recipe, student = self.recipe, self.pair.student
        if recipe.best_by == "top1" and not self.pair.setting.supervised:
            raise Fault("best_by top1 wants logits over the set's classes; choose by knn, say")
        for each in recipe.watch:
            if each in BY_LABELS and "embedding" not in student.taps:
                raise Fault(f"watch {each} reads an embedding, and the student has none")
            if each in BY_LABELS and self._unlabelled(each):
                raise Fault(
                    f"watch {each} wants labels, and {self.sets.name} has none; watch"
                    " neighbours,agreement,gap"
                )
        for lacks, why in self.lacking(objective):
            remark(f"{lacks} is not watched: {why}")
        for told in self._few():
            remark(told)

    def _few(self) -> Iterator[str]:
        """What so few images can hardly show of what is watched, in sentences."""
        watch, validation = self.recipe.watch, self.sets.validation
        each = len(self.sets.train) / max(len(self.sets.classes), 1)
        if "knn" in {*watch, *self.recipe.probes} and each < VOTES:
            yield (
                f"k-NN lets {VOTES} training images vote, and a class has {each:.0f} on average, so"
                " most votes may be of other classes"
            )
        if validation is None or "neighbours" not in watch or not self._embeds:
            return
        chance = by_chance(min(len(validation), measure.NEAR))
        if len(validation) > 1 and chance > MUCH:
            yield (
                f"neighbours among {len(validation)} validation images are shared by chance to"
                f" {chance:.1f} %"
            )

    def _unlabelled(self, each: str) -> bool:
        validation, train = self.sets.validation, self.sets.train
        lacks = validation is None or validation.labels is None
        return lacks or (each != "retrieval" and train.labels is None)

    def lacking(self, objective: Objective) -> Iterator[tuple[str, str]]:
        """What cannot be measured of what is wanted, and why."""
        pair, setting = self.pair, self.pair.setting
        for each in self.recipe.watch:
            if each in BY_LABELS:
                continue
            if pair.teacher is None:
                yield each, "there is no teacher to compare with"
            elif each in BY_TEACHER and not self._embeds:
                yield each, "one of the networks has no embedding"
            elif each == "agreement" and not setting.shares_classes:
                yield each, "the networks do not put out the same classes"
            elif each == "agreement" and not measure.taught_output(objective, self.recipe):
                yield each, "nothing teaches the student what to put out"

    @property
    def _embeds(self) -> bool:
        """Whether both networks have an embedding."""
        setting = self.pair.setting
        return "embedding" in setting.student and "embedding" in (setting.teacher or {})

    def norms(
        self,
        distiller: Distiller,
        microbatch: int | None,
        pace: Speed,
        remark: Callable[[str], None],
    ) -> Norms | None:
        """Where a training notes its norms of gradients, if they are wanted and can be had."""
        if not self.recipe.gradient_norms:
            return None
        why = obstacle(distiller, microbatch, compiled=pace.compiled)
        if why is not None:
            remark(f"norms of gradients are left out: {why}")
        return None if why is not None else Norms()

    def notes(self, *, chosen: bool) -> Iterator[str]:
        """What of it was decided, in sentences.

        Args:
            chosen: whether there is a best epoch.
        """
        recipe = self.recipe
        watch, test, validation = recipe.watch, len(self.sets.test), self.sets.validation
        if self._embeds and test > measure.NEAR:
            yield (
                f"neighbours are those among {measure.NEAR:,} of the {test:,} test images, evenly"
                " spread"
            )
        elif self._embeds and test > 1 and (chance := by_chance(test)) > MUCH:
            yield f"neighbours among {test} test images are shared by chance to {chance:.1f} %"
        if not watch or validation is None:
            return
        told = ", ".join(each for each in watch if each in BY_LABELS)
        if told and not recipe.labels:
            yield f"labels were read to watch {told}, as asked for, and not to train"
        if {"knn", "linear"} & set(watch) and len(self.sets.train) > BANK:
            yield (
                f"while training, k-NN and probes had {BANK:,} of the {len(self.sets.train):,}"
                " training images, evenly spread"
            )
        if "neighbours" in watch and len(validation) > measure.NEAR:
            yield (
                f"while training, neighbours were those among {measure.NEAR:,} of the"
                f" {len(validation):,} validation images, evenly spread"
            )
        if recipe.best_by is not None and chosen:
            name = WATCHED[recipe.best_by]
            least = "lowest" if name in LESS else "highest"
            yield f"best is the epoch of the {least} validation {name.replace('_', ' ')}"


def chosen_by(setting: Setting, recipe: Recipe) -> str:
    """The metric that "best" is chosen by: accuracy, or else what the student is taught."""
    if recipe.best_by is not None:
        return WATCHED[recipe.best_by]
    if setting.supervised:
        return "top1"
    return "reconstruction" if recipe.method == "none" else "gap_cosine"


def better(metric: str, one: float, other: float) -> bool:
    """Whether one value of a metric is better than another."""
    return one < other if metric in LESS else one > other


def best_row(rows: Sequence[Row], metric: str) -> int | None:
    """The place of the best row by a metric on the validation part; the first of equals."""
    name = f"validation_{metric}"
    best: int | None = None
    for place, row in enumerate(rows):
        if name in row.metrics and (
            best is None or better(metric, row.metrics[name], rows[best].metrics[name])
        ):
            best = place
    return best


def best_on_test(rows: Sequence[Row]) -> dict[str, float]:
    """The highest accuracy that was watched on the test images, as some papers report it.

    It is chosen on the images that it is measured on, so it is too high, and tables that rank
    methods leave it out.
    """
    seen = [row.metrics["test_top1"] for row in rows if "test_top1" in row.metrics]
    return {"best_on_test_top1": max(seen)} if seen else {}
