"""The images that trials are judged by, and what so many of them can tell apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from relatum.evaluate.standard_error import standard_error
from relatum.recipes.recipe import Recipe
from relatum.run.prepare import prepare
from relatum.run.watch import better, chosen_by
from relatum.tune.space import Dimension, applied
from relatum.tune.trial import check
from relatum.types import Fault

FEW = 50
"""Validation images below which it is said that they tell little apart."""
SHARES = ("top1", "knn", "probe", "agreement")
"""Metrics that are the share of images that are right, in percent."""


@dataclass(frozen=True)
class Judged:
    """The validation part of a search.

    Attributes:
        images: how many there are.
        of: training images that they were cut from.
        metric: by which trials are judged.
    """

    images: int
    of: int
    metric: str

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Whether more of the metric is better, or less."""
        return "maximize" if better(self.metric, 1.0, 0.0) else "minimize"

    @property
    def is_share(self) -> bool:
        """Whether the metric is a share of images, so that its standard error is known."""
        return self.metric in SHARES

    def error(self, percent: float) -> float:
        """The standard error of a share, in points (``relatum.evaluate.standard_error``).

        Example:
            >>> Judged(25, 100, "top1").error(50.0)
            10.0
        """
        return 100 * standard_error(percent / 100, self.images)

    def notes(self, own: bool) -> Iterator[str]:
        """What to know before the search, in sentences.

        Args:
            own: whether somebody said how many are cut off.
        """
        if not own:
            yield f"{self.images:,} of {self.of:,} training images are cut off to choose by"
        if self.images >= FEW:
            return
        what = "a search on them cannot tell settings apart that are not far from each other"
        if self.is_share:
            what += f": the standard error of {self.metric} is up to {self.error(50):.1f} points"
        yield f"{self.images} validation images are few, and {what}; {self._way_out}"

    @property
    def _way_out(self) -> str:
        """The smallest round share of the images that is not few, where half of them is enough."""
        for tenths in range(1, 6):
            if self.of * tenths >= 10 * FEW:
                return f"more images help, or a larger share of them (--set validation=0.{tenths})"
        return "only more images help"

    def spread(self, values: list[float]) -> str:
        """How far the best of some trials can be told from the others, in a sentence.

        Args:
            values: what they reached, the best first.
        """
        error = self.error(min(max(values[0], 0.0), 100.0))
        near = sum(abs(values[0] - each) <= 2 * error for each in values[1:])
        others = len(values) - 1
        told = f"{near} of the other {others} trials lie"
        if others == 1:
            told = f"the other trial {'lies' if near else 'does not lie'}"
        elif near == others:
            told = f"all other {others} trials lie"
        return (
            f"on {self.images:,} images the standard error of {values[0]:.4g} % is {error:.1f}"
            f" points; {told} within two of it"
        )


def judged(
    recipe: Recipe,
    space: Sequence[Dimension],
    device: torch.device,
    *,
    download: bool = False,
    stand_in: str | None = None,
) -> Judged:
    """By what the trials of a search are judged, once both its ends are seen to be possible.

    Args:
        recipe: what is varied.
        space: what of it.
        device: where.
        download: fetch the set if it is missing.
        stand_in: a model that takes the place of a teacher that is yet to be trained.

    Raises:
        Fault: nothing is cut off to judge by, nothing is trained, or an end cannot be run.
    """
    if not recipe.validation:
        raise Fault("a search chooses by a validation part: --set validation=0.1 cuts one")
    if not recipe.epochs:
        raise Fault("a search trains, and the recipe has no epochs; give it some: --epochs 10")
    images, of, metric = 0, 0, ""
    for end in (0, 1):
        tried = applied(recipe, {each.name: each.ends[end] for each in space})
        ready = prepare(tried.but(cache=None), device, download, stand_in)
        for stage in ready.stages:
            ready.distiller(stage)
        check(tried, ready)
        assert ready.sets.validation is not None
        images, of = len(ready.sets.validation), len(ready.sets.source.train)
        metric = chosen_by(ready.pair.setting, recipe)
    return Judged(images, of, metric)
