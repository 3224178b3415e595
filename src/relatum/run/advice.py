"""What to change for a run to take less time: said only where its profile shows it."""

from collections.abc import Iterator

import torch

from relatum.precision import half_here
from relatum.profiling.profile import COMMAND, Profile
from relatum.profiling.regions import DATA, START
from relatum.recipes.recipe import Recipe
from relatum.speed import speed

MUCH = 0.25
"""The share from which on something is worth a word."""
LONG = {"cpu": 5.0, "cuda": 0.5}
"""Milliseconds of products a step from which on halving their numbers outweighs casting them."""
PRODUCTS = ("conv", "mm", "gemm", "matmul", "linear")
"""What operators and kernels are called that multiply matrices."""


def advice(profile: Profile, recipe: Recipe, device: torch.device) -> list[str]:
    """A sentence for each thing that takes much and can be mended, the largest first."""
    found = [*_of_step(profile, recipe), *_of_device(profile, recipe, device)]
    found += _of_run(profile, recipe)
    return [text for share, text in sorted(found, key=lambda each: -each[0]) if share >= MUCH]


def _of_step(profile: Profile, recipe: Recipe) -> Iterator[tuple[float, str]]:
    share = profile.share(DATA)
    if recipe.augment:
        yield (
            share,
            f"data takes {share:.0%} of a step, and {', '.join(recipe.augment)} most of that: leave"
            " out what does not help (--set augment=…)",
        )
    share = profile.share("teacher")
    if recipe.cache is None and "teacher" not in recipe.shard:
        views = " (with --set views=4, for images are augmented at random)"
        yield (
            share,
            f"the teacher takes {share:.0%} of a step: --cache FOLDER stores what it says, once"
            + views * bool(recipe.augment and recipe.views is None),
        )
    share = profile.share("losses")
    terms = [part for part in profile.step if part.name.startswith("losses/")]
    if terms:
        most = max(terms, key=lambda part: part.share)
        term = most.name.partition("/")[2]
        yield (
            share,
            f"losses take {share:.0%} of a step, {term} alone {most.share:.0%}: docs/cost.md says"
            " what others cost",
        )


def _of_device(
    profile: Profile, recipe: Recipe, device: torch.device
) -> Iterator[tuple[float, str]]:
    single = speed(recipe.speed, device, recipe.precision).precision == torch.float32
    if single and half_here(device) and _heavy(profile, LONG[device.type]):
        share = sum(profile.share(name) for name in ("teacher", "student", "backward"))
        here = "GPU" if device.type == "cuda" else "processor"
        yield (
            share,
            f"the networks take {share:.0%} of a step, in float32, and this {here} multiplies in"
            " bfloat16: --speed fast",
        )
    if profile.idle is not None and recipe.speed != "max":
        yield (
            profile.idle,
            f"the device waited {profile.idle:.0%} of a step to be told what to do: --speed max"
            " replays the step as one graph, and a larger --batch asks for more at a time",
        )


def _heavy(profile: Profile, long: float) -> bool:
    """Whether products of matrices are most of a step's work, and the device is busy with them."""
    products = [
        each for each in profile.operators if any(word in each.name.lower() for word in PRODUCTS)
    ]
    share = sum(each.share for each in products)
    busy = profile.idle is None or profile.idle < MUCH
    return busy and share >= 0.5 and sum(each.milliseconds for each in products) >= long


def _of_run(profile: Profile, recipe: Recipe) -> Iterator[tuple[float, str]]:
    share = profile.share("evaluation")
    ways = {
        "--set watch_test=false leaves the test images for the end": recipe.watch_test,
        "--set watch_every=… measures less often": bool(recipe.watch),
        "--set validation=0 measures at the end alone": recipe.validation > 0,
        "--set probes= leaves the probes out": bool(recipe.probes),
    }
    way = next((text for text, helps in ways.items() if helps), None)
    if way is not None:
        yield share, f"evaluation takes {share:.0%} of the run: {way}"
    share = profile.share("checkpoint")
    yield share, f"checkpoints take {share:.0%} of the run: choose an --out on a faster disk"
    if recipe.speed == "max":
        share = profile.first / profile.seconds
        yield (
            share,
            f"the first steps take {share:.0%} of the run, for they compile: a run as short as this"
            " is over sooner with --speed fast",
        )
    share = profile.share(COMMAND) + profile.share(START)
    yield (
        share,
        f"the run is short: {share:.0%} of it went before its first step, which no speed changes",
    )
