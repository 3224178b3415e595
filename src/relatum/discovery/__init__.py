"""Find the places worth reading in a network that does not name them."""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from relatum.discovery.classifier import PASSES as PASSES
from relatum.discovery.classifier import before_dropout, last_layer
from relatum.discovery.classifier import classifies as classifies
from relatum.discovery.classifier import find_classifier as find_classifier
from relatum.discovery.seen import DryRun, Layout, Seen
from relatum.discovery.stages import STAGES, Step, blocks, course, resolutions, spread, tap_of
from relatum.taps import Tap, Taps
from relatum.types import Fault, Images
from relatum.views import Kind, View

__all__ = ["PASSES", "classifies", "find_classifier", "find_taps", "tap_at"]

Taken = dict[str, Tap | tuple[Tap, ...]]


def find_taps(network: nn.Module, images: Images) -> Taps:
    """The taps that a network declares (``network.taps``), or else those found by a dry run.

    - ``embedding``: what enters the last linear layer, before a dropout in front of it (unless
      that works in place), or the mean of the map that enters a last convolution of one pixel;
      a network that ends in neither gives its output;
    - ``maps``: the last feature map (batch, channel, height, width) before the final pooling; of
      a network of tokens those of its patches, behind the last norm;
    - ``stages``, and ``stage1``, ``stage2`` … by themselves: the last map of each resolution, of
      the last four; a network of one resolution has four of its blocks, evenly spaced (of
      twelve: the third, sixth, ninth, twelfth);
    - ``stem``: the map of the resolution before those, if there is one;
    - ``tokens``, ``mean_token``, ``class_token``: where ``maps`` are tokens, those of the patches
      (batch, token, channel), their mean, and the first of all, if it is none of the patches.

    Maps whose channels come last, and tokens, are laid out as maps (``relatum.views``).

    Args:
        network: any network; its state and modes are as before when this returns.
        images: some images, prepared for it.
    """
    declared = getattr(network, "taps", None)
    if isinstance(declared, Mapping):
        return declared
    run = DryRun(network, images)
    taps: Taken = {}
    seen, steps = run.seen, course(run)
    if run.output.ndim == 2:
        last = last_layer(run)
        taps["embedding"] = Tap("") if last is None else _enters(run, last)
        if last is not None:  # what tells the classes of each place is no map
            seen = seen[: seen.index(last) + (last.left.ndim == 2)]
            steps = [step for step in steps if step[0] in seen or step[0].item is not None]
    steps = resolutions(steps)
    maps = _maps(seen) or (tap_of(steps[-1]) if steps else None)
    layout = None if maps is None else _laid_out(run, maps)
    if maps is not None and run.output.ndim != 2:  # of images to images: it ends in a decoder
        taps |= {"maps": maps, **_numbered([tap_of(step) for step in steps[-STAGES:]])}
    elif maps is not None and layout is not None:
        maps = maps._replace(view=layout.view)
        taps |= {"maps": maps}
        taps |= _stages(run, steps, maps, layout) | _tokens(network, maps, layout)
    elif maps is not None:
        taps["maps"] = maps
    return taps


def tap_at(network: nn.Module, path: str, images: Images) -> Tap:
    """What leaves a submodule, laid out as a map where it is one, or is tokens of patches.

    Args:
        network: any network.
        path: of a submodule that runs.
        images: some images, prepared for it.

    Raises:
        Fault: it did not run, or gives no tensor.
    """
    run = DryRun(network, images)
    found = next((each for each in run.every if each.path == path), None)
    if found is None:
        raise Fault(f"{path!r} does not run on an image, or gives no tensor; name another place")
    layout = run.left(found)
    view = View(item=found.item) if layout is None else layout.view
    return Tap(path, "output", view)


def _enters(run: DryRun, last: Seen) -> Tap:
    """What enters the layer that makes the output, or a dropout before it."""
    kind: Kind = "mean of map" if last.left.ndim == 4 else "as it is"
    return Tap(before_dropout(run, last).path, "input", View(kind))


def _maps(seen: list[Seen]) -> Tap | None:
    """The last map of a network whose maps have their channels first to its end."""
    spatial = [each for each in seen if each.left.ndim > 2]
    if not spatial or spatial[-1].left.ndim != 4:  # tokens end in (batch, token, channel)
        return None
    end = _final_pool(seen)
    pool = seen[end].path if end else ""
    maps = [
        each
        for each in seen[:end]
        if each.left.ndim == 4
        and each.readable
        and not each.pools
        and not (end and each.path.startswith(f"{pool}."))
        and (end or each.pixels > 1)
    ]
    widths = [each.module.in_features for each in seen if isinstance(each.module, nn.Linear)]
    if not maps or (widths and maps[-1].left.shape[3] == widths[-1] != maps[-1].left.shape[1]):
        return None
    return Tap(maps[-1].path)


def _final_pool(seen: list[Seen]) -> int | None:
    """Where the last pooling to one pixel is, if all that follows it has one pixel too."""
    for place in reversed(range(len(seen))):
        each = seen[place]
        if each.left.ndim == 4 and each.pixels > 1:
            return None
        if each.pools and each.pixels == 1:
            return place
    return None


def _laid_out(run: DryRun, maps: Tap) -> Layout | None:
    found = next(each for each in run.every if each.path == maps.path)
    return run.left(found)


def _stages(run: DryRun, steps: list[Step], maps: Tap, layout: Layout) -> Taken:
    """The stages one by one and together, and the stem."""
    listed = blocks(run, layout.grid)
    if layout.tokens and len(listed) >= STAGES:
        steps = [step for step in steps if step[1].tokens]  # what makes the patches is no stage
    if {step[1].grid for step in steps} <= {layout.grid}:
        return _numbered([tap_of(step) for step in spread(listed, STAGES)] or [maps])
    before = [tap_of(step) for step in steps if step[1].grid != layout.grid]
    stages = [*before, maps]
    stem: Taken = {"stem": stages[-STAGES - 1]} if len(stages) > STAGES else {}
    return stem | _numbered(stages[-STAGES:])


def _numbered(stages: list[Tap]) -> Taken:
    single = {f"stage{number}": stage for number, stage in enumerate(stages, start=1)}
    return {**single, "stages": tuple(stages)}


def _tokens(network: nn.Module, maps: Tap, layout: Layout) -> Taken:
    if not layout.tokens:
        return {}
    kinds: dict[str, Kind] = {"tokens": "tokens", "mean_token": "mean token"}
    if layout.view.prefix and not _registers_alone(network):
        kinds["class_token"] = "class token"
    return {
        name: maps._replace(view=replace(layout.view, kind=kind)) for name, kind in kinds.items()
    }


def _registers_alone(network: nn.Module) -> bool:
    """Whether what stands before the patches are registers, as some of timm's have it."""
    asked = [each for each in network.modules() if hasattr(each, "cls_token")]
    return any(each.cls_token is None for each in asked)
