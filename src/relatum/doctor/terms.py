"""What is looked at of a method: what each term reads and weighs, and that a step goes well."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Size

from relatum.balance import learning, norms_of
from relatum.distiller import Distiller
from relatum.doctor.finding import Finding, ok, problem, warning
from relatum.gradient_norms import put_back
from relatum.methods import Stage
from relatum.recipes.recipe import Recipe
from relatum.run.balanced import balanced
from relatum.run.display import Silent
from relatum.run.prepare import Prepared
from relatum.run.untaught import Lessons, in_words, untaught_layers, way_out
from relatum.types import Batch, Shapes

SMALL, LARGE = 0.01, 0.99
"""Shares of the pull at the student below and above which a term is alone, or not there."""
FEW = 8
"""Samples of a batch that have too few relations to each other to learn from."""
ROUNDED = 0.1
"""Relative difference of a loss in bfloat16 from which on it is worth a word."""


@dataclass
class Looked:
    """What was found of a method besides, for the cost.

    Attributes:
        distillers: what trains in each stage.
    """

    distillers: list[Distiller] = field(default_factory=list)


def examine_terms(label: str, recipe: Recipe, ready: Prepared, looked: Looked) -> Iterator[Finding]:
    """The checks of a method's stages, each on its first batch."""
    batch = next(ready.batches.epoch(1))
    if ready.microbatch is not None:
        batch = batch.part(slice(0, ready.microbatch))
    lessons = Lessons()
    for number, stage in enumerate(ready.stages, start=1):
        name = label if len(ready.stages) == 1 else f"{label}, stage {number}"
        distiller, resting = ready.distiller(stage)
        looked.distillers.append(distiller)
        lessons.add(distiller, resting)
        yield _idle(name, distiller, resting)
        balanced(stage, distiller, ready, recipe, Silent(), None)
        yield from _shares(name, stage, distiller, batch, ready)
        yield from _half(name, distiller, batch)
    if layers := untaught_layers(ready.pair.student, ready.sets.shape, lessons.idle):
        yield warning(f"{label}: embedding", in_words(layers), way_out(recipe))
    yield from _batches(label, recipe, ready)


def _idle(name: str, distiller: Distiller, resting: object) -> Finding:
    """Which parameters of the student no term reaches."""
    names = list(resting) if isinstance(resting, list | tuple) else []
    count = len(distiller.parameters())
    text = f"{count} tensor{'s' * (count != 1)} of parameters learn"
    if not names:
        return ok(f"{name}: student", text)
    shown = ", ".join(names[:3]) + ", …" * (len(names) > 3)
    return ok(f"{name}: student", f"{text}; no term reaches {len(names)} ({shown}), which rest")


def _shares(
    name: str, stage: Stage, distiller: Distiller, batch: Batch, ready: Prepared
) -> Iterator[Finding]:
    """What each term reads, its value, and its share of the pull at the student."""
    norms, places = norms_of(distiller, [batch])
    values = _values(distiller, batch)
    objective = stage.objective
    pulls = {each: norms[each] * term.weight_at(1.0) for each, term in objective.terms.items()}
    whole = sum(pulls.values())
    for each, term in objective.terms.items():
        check = f"{name}: term {each}"
        on = (term.on,) if isinstance(term.on, str) else term.on
        where = f"reads {'+'.join(on)}{_sizes(on, ready)}"
        weight = term.weight_at(1.0)
        text = f"{where}; {values[each]:.4g} at weight {weight:.4g}"
        if not torch.tensor([values[each], norms[each]]).isfinite().all():
            way = "lower its weight, or see what the networks put out"
            yield problem(check, f"{text}: the loss or its gradient is not finite", way)
        elif norms[each] == 0 and weight:
            way = "it teaches the student nothing at first; see that it reads what it should"
            yield warning(check, f"{text}: no gradient reaches the student", way)
        else:
            yield _share(
                check, text, pulls[each] / whole if whole else 0.0, places[each], len(norms)
            )


def _share(check: str, text: str, share: float, place: str, terms: int) -> Finding:
    """What to think of a term that has this share of the pull."""
    text = f"{text}; {share:.1%} of the pull (gradient at the {place})"
    if terms > 1 and share < SMALL:
        way = "the others drown it: raise its weight, or give shares (--balance equal)"
        return warning(check, text, way)
    if terms > 1 and share > LARGE:
        way = "it drowns the others: lower its weight, or give shares (--balance equal)"
        return warning(check, text, way)
    return ok(check, text)


def _values(distiller: Distiller, batch: Batch, half: bool = False) -> dict[str, float]:
    """Each term's value before its weight, as in a step; nothing of the state moves."""
    kind = batch.images.device.type
    with (
        learning(distiller),
        put_back(distiller, batch),
        torch.no_grad(),
        torch.autocast(kind, torch.bfloat16, enabled=half),
    ):
        losses = distiller.losses(batch)
    rows: list[float] = torch.stack([each.float() for each in losses.parts.values()]).tolist()
    return dict(zip(losses.parts, rows, strict=True))


def _half(name: str, distiller: Distiller, batch: Batch) -> Iterator[Finding]:
    """Whether the terms survive networks in bfloat16."""
    check = f"{name}: bfloat16"
    try:
        whole, half = _values(distiller, batch), _values(distiller, batch, half=True)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        yield warning(check, f"a layer does not run in it: {line}", "leave --speed exact")
        return
    bad = [each for each, value in half.items() if not torch.tensor(value).isfinite()]
    off = {each: abs(half[each] - whole[each]) / max(abs(whole[each]), 1e-6) for each in whole}
    worst = max(off, key=off.__getitem__)
    if bad:
        text = f"{', '.join(bad)} is not finite with networks in bfloat16"
        yield warning(check, text, "leave --speed exact, or --precision float32")
    elif off[worst] > ROUNDED:
        text = f"{worst} differs by {off[worst]:.0%} with networks in bfloat16"
        yield warning(check, text, "leave --speed exact, or --precision float32")
    else:
        yield ok(check, f"all terms are finite; {worst} differs most, by {off[worst]:.2%}")


def _batches(label: str, recipe: Recipe, ready: Prepared) -> Iterator[Finding]:
    """Whether a batch holds enough samples for terms that compare them with each other."""
    terms = [term for stage in ready.stages for term in stage.objective.terms.values()]
    if not any(getattr(term.loss, "relational", False) for term in terms):
        return
    check, size, count = f"{label}: batch", recipe.batch_size, len(ready.sets.train)
    classes = len(ready.sets.classes)
    last = count % size
    if size < FEW:
        text = f"{size} samples a batch have {size * (size - 1) // 2} relations to each other"
        yield warning(check, text, "take a larger --batch, and --microbatch where memory lacks")
    elif size < classes:
        text = f"{size} samples a batch, of {classes} classes: few pairs share their class"
        way = "relations are mostly between classes; a larger --batch has more within them"
        yield warning(check, text, way)
    elif last and not recipe.drop_last and last < size / 4:
        text = f"the last batch of an epoch has {last} samples, the others {size}"
        yield warning(check, text, "leave it out: --set drop_last=true")
    else:
        left = f"; {last} samples an epoch are left out" if last and recipe.drop_last else ""
        steps = len(ready.batches)
        yield ok(check, f"{size} samples, {steps} step{'s' * (steps > 1)} an epoch{left}")


def _sizes(on: tuple[str, ...], ready: Prepared) -> str:
    """The shapes there, of the student and of the teacher."""
    setting = ready.pair.setting
    both: list[Shapes | None] = [setting.student, setting.teacher]
    found = [_size(shapes, on) for shapes in both if shapes]
    return f" ({' and '.join(filter(None, found))})" if any(found) else ""


def _size(shapes: Mapping[str, Size | tuple[Size, ...]], on: tuple[str, ...]) -> str:
    sizes: list[str] = []
    for name in on:
        value = shapes.get(name, ())
        every = [value] if isinstance(value, Size) else list(value)
        sizes += ["x".join(map(str, each[1:])) for each in every]
    return ", ".join(sizes)
