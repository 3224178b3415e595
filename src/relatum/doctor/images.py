"""What is looked at of the images: how many, of which classes, which twice, how bright."""

from collections.abc import Iterator

import torch
from torch import Tensor

from relatum.data import ImageSet, chosen
from relatum.data.seeds import generator
from relatum.doctor.finding import Finding, ok, problem, warning
from relatum.run.sets import Sets
from relatum.taps import Tapped

UNEVEN = 10
"""How many times the rarest class the most frequent one may be."""
COMPARED = 20_000
"""Images of each part that are compared for being the same."""
LOOKED_AT = 500
"""Images whose brightness is measured, and that a teacher is asked about."""
OFF = 1.0
"""How far the mean of normalised images may lie from 0, in their standard deviations."""
SPREADS = (0.25, 4.0)
"""Between which their standard deviation may lie."""


def examine_images(sets: Sets) -> Iterator[Finding]:
    """The checks of a set, as a recipe cuts it."""
    parts = ", ".join(f"{count:,} {name}" for name, count in sets.samples.items() if count)
    size = "x".join(map(str, sets.shape))
    classes = f", {len(sets.classes)} classes" if sets.classes else ", no labels"
    yield ok("images", f"{sets.name}: {parts}, {size}{classes}")
    yield from _classes(sets)
    yield _twice(sets)


def drawn(data: ImageSet, count: int = LOOKED_AT) -> Tensor:
    """Which images are looked at: so many, drawn by a fixed seed and in the order of the set."""
    return chosen.drawn(len(data), count, "doctor")


def some(data: ImageSet) -> ImageSet:
    """The images that are looked at."""
    return data.take(drawn(data).to(data.device))


def examine_brightness(who: str, tapped: Tapped, sets: Sets) -> Finding:
    """Whether a network sees images around 0, as wide as it was built for."""
    part = some(sets.train)
    images = tapped.prepare(part.float(slice(0, len(part))))
    mean, std = float(images.mean()), float(images.std())
    text = f"the {who} sees images of mean {mean:.2f} and deviation {std:.2f}"
    plain = tapped.input.mean == (0.0,) * len(tapped.input.mean)
    if abs(mean) <= OFF * max(std, 1e-12) and SPREADS[0] <= std <= SPREADS[1]:
        return ok("normalisation", text)
    if plain and SPREADS[0] / 4 <= std <= SPREADS[1]:
        return ok("normalisation", f"{text}: its images are not normalised")
    how = f"mean {_numbers(tapped.input.mean)}, deviation {_numbers(tapped.input.std)}"
    way = "see that these are the ones that it was trained with" if who == "teacher" else ""
    way = way or "see that the set's own are right: they are far from what its images have"
    return warning("normalisation", f"{text}, by {how}", way)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _classes(sets: Sets) -> Iterator[Finding]:
    for name, part in (("train", sets.train), ("test", sets.test)):
        if part.labels is None or not sets.classes:
            continue
        counts = part.labels.cpu().bincount(minlength=len(sets.classes))
        absent = [sets.classes[each] for each in (counts == 0).nonzero().flatten().tolist()]
        least, most = int(counts.min()), int(counts.max())
        check = f"classes, {name}"
        if absent:
            names = ", ".join(absent[:3]) + ", …" * (len(absent) > 3)
            way = "look at how the set is cut, or leave these classes out of both parts"
            yield warning(check, f"no image of {len(absent)} classes ({names})", way)
        elif most > UNEVEN * least:
            text = f"{least:,} to {most:,} images a class"
            way = "top-1 will speak of the frequent ones; relations are of the batch as it comes"
            yield warning(check, text, way)
        else:
            span = f"{least:,} to {most:,}" if least < most else f"{least:,}"
            yield ok(check, f"{span} images a class")


def _twice(sets: Sets) -> Finding:
    """Whether test images are among those that are trained on."""
    test, train = _sums(sets.test), _sums(sets.train)
    seen = torch.isin(test, train)
    both = int(seen.sum())
    whole = len(train) == len(sets.train) and len(test) == len(sets.test)
    part = "" if whole else f" (of {len(train):,} and {len(test):,} that were compared)"
    if both == 0:
        return ok("duplicates", f"no test image is among the training images{part}")
    share = both / len(test)
    first = int(seen.nonzero()[0])
    named = f", the first of them {sets.test.names[first]}" if sets.test.names else ""
    text = f"{both:,} of {len(test):,} test images are training images too{part}{named}"
    way = "take them out of one of the two folders: what is measured on them says nothing"
    return (problem if share > 0.5 else warning)("duplicates", text, way)


def _sums(data: ImageSet) -> Tensor:
    """A number for each image that only those with the same bytes have, as good as surely."""
    count = min(len(data), COMPARED)
    size = data.shape[0] * data.shape[1] * data.shape[2]
    drawn = torch.randint(-(2**62), 2**62, (size,), generator=generator(0, "sums"))
    factors = drawn | 1
    found: list[Tensor] = []
    for first in range(0, count, 256):
        pixels = data.pixels(slice(first, min(first + 256, count))).cpu()
        found.append((pixels.flatten(1).long() * factors).sum(1))  # wraps round, which is meant
    return torch.cat(found)
