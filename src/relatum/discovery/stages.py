"""The course of a network's maps: through fewer and fewer pixels, or through equal blocks."""

from collections.abc import Iterator

from torch import nn

from relatum.discovery.seen import DryRun, Grid, Layout, Seen
from relatum.taps import Tap

STAGES = 4
"""At most: what lies before the last four resolutions is the stem, as a CNN's first halving."""

Step = tuple[Seen, Layout]
"""A submodule on the course, and how what left it is laid out."""


def course(run: DryRun) -> list[Step]:
    """The largest submodules, in order, that each halve the pixels once at most.

    A submodule that halves more often is seen as what it is made of, and so is one that ends by
    halving: the map before that is the last one of its resolution.
    """
    steps = list(_steps(run, ""))
    if run.output.ndim != 2 and steps:  # an auto-encoder: what follows the smallest map grows again
        least = min(layout.grid for _, layout in steps)
        last = max(place for place, (_, layout) in enumerate(steps) if layout.grid == least)
        return steps[: last + 1]
    return steps


def _steps(run: DryRun, path: str) -> Iterator[Step]:
    for each in run.within(path):
        layout = run.left(each)
        if layout is None and _pools_tokens(run, each):
            continue
        if layout is None or (_halves(run, each, layout) and _is_made_of_maps(run, each)):
            yield from _steps(run, each.path)
        else:
            yield each, layout


def _pools_tokens(run: DryRun, each: Seen) -> bool:
    """Whether a submodule makes a vector of tokens: what lies within are its keys and values."""
    entered = run.layout(each.entered)
    if entered is None or not entered.tokens:
        return False
    inside = [run.left(part) for part in run.every if part.path.startswith(f"{each.path}.")]
    return not any(part and part.tokens and part.channels == entered.channels for part in inside)


def _halves(run: DryRun, each: Seen, layout: Layout) -> bool:
    """Whether a submodule halves the pixels more than once, or as the last that it does."""
    if (entered := run.layout(each.entered)) is None:
        return True
    if entered.grid[0] > 2 * layout.grid[0] + 1 or entered.grid[1] > 2 * layout.grid[1] + 1:
        return True
    if entered.grid[0] <= layout.grid[0]:
        return False
    parts = run.within(each.path)
    return bool(parts) and parts[-1].left.shape == each.left.shape and _ends_halved(run, parts)


def _ends_halved(run: DryRun, parts: list[Seen]) -> bool:
    """Whether the last of some parts, run one after the other, is what halves the pixels.

    A norm before a convolution that halves makes no map of its own (ConvNeXt).
    """
    if len(parts) < 2:
        return False
    left, came, ends = run.left(parts[-2]), run.layout(parts[-1].entered), run.left(parts[-1])
    if not (left and came and ends and left.grid == came.grid and came.grid[0] > ends.grid[0]):
        return False
    before = (weight for part in parts[:-1] for weight in part.module.parameters())
    return any(weight.ndim > 1 for weight in before)


def _is_made_of_maps(run: DryRun, each: Seen) -> bool:
    return any(run.left(part) is not None for part in run.within(each.path))


def resolutions(steps: list[Step]) -> list[Step]:
    """The last readable map of each resolution but of a pooling, most pixels first."""
    last: dict[Grid, Step] = {}
    for each, layout in steps:
        if each.readable and not each.pools and layout.grid != (1, 1):
            last[layout.grid] = (each, layout)
    return sorted(last.values(), key=lambda step: step[1].grid, reverse=True)


def blocks(run: DryRun, grid: Grid) -> list[Step]:
    """The blocks of a network of one resolution: its longest list of alike submodules."""
    ended = {each.path: each for each in run.every}
    found: list[Step] = []
    for path, module in run.network.named_modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        steps = []
        for name, _ in module.named_children():
            each = ended.get(f"{path}.{name}".removeprefix("."))
            layout = None if each is None else run.left(each)
            if each is None or layout is None or layout.grid != grid or not each.readable:
                continue
            steps.append((each, layout))
        alike = {(each.left.shape, type(each.module)) for each, _ in steps}
        if len(alike) == 1 and len(steps) > len(found):
            found = steps
    return found


def spread(steps: list[Step], number: int) -> list[Step]:
    """So many of them, evenly spaced, the last included.

    Example:
        >>> spread(list(range(12)), 4)
        [2, 5, 8, 11]
    """
    number = min(number, len(steps))
    return [steps[round((place + 1) * len(steps) / number) - 1] for place in range(number)]


def tap_of(step: Step) -> Tap:
    """Where a step is read, as a map."""
    each, layout = step
    return Tap(each.path, "output", layout.view)
