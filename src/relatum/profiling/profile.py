"""What a watched run says: seconds of the whole, milliseconds of a step, and both as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from relatum.profiling.regions import (
    DATA,
    FIRST,
    PROFILING,
    REST,
    START,
    STEP,
    TRACED,
    USUAL,
    WAIT,
    Watch,
)
from relatum.profiling.trace import Operator, Traced

COMMAND, TRAINING = "start of the command", "training"
STEPS = (DATA, "teacher", "student", "losses", "backward", "update")
"""What a step consists of where nothing is compiled into one piece, in this order."""
SAYS = {
    COMMAND: "imports, a rehearsal of all runs",
    START: "images, networks, a first look",
    "evaluation": "after epochs and at the end",
    "checkpoint": "what is saved, to go on from",
    PROFILING: "tracing operators, for this page",
    DATA: "cut and augment",
    "teacher": "forward, or read if cached",
    "student": "forward",
    "losses": "of it:",
    "update": "the optimiser",
    "replay": "all of it, as one graph",
    WAIT: "losses read back",
    STEP: "all that has no name",
    REST: "all that has no name",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a table.

    Attributes:
        name: the label; a term's is ``losses/NAME``, and is a part of ``losses``. All others add
            up to the whole.
        time: seconds of the run, or milliseconds of a step.
        share: of the whole of it.
        calls: a step.
        device: milliseconds a step that the device computed for it, where there is one.
    """

    name: str
    time: float
    share: float
    calls: float | None = None
    device: float | None = None


@dataclass(frozen=True)
class Profile:
    """Where the time of a run went.

    Attributes:
        run: its parts, in seconds; they add up to ``seconds``.
        seconds: the whole run.
        step: the parts of a step, in milliseconds; they add up to ``milliseconds``.
        milliseconds: the mean of the steps that were timed.
        steps: how many the run took.
        timed: how many of them the mean is over.
        usual: whether those were steps as they always are, neither the first nor traced.
        first: seconds of the first ones, which are no part of the mean.
        images: a second, of those steps.
        busy: milliseconds a step in which the device computed.
        idle: what share of a step the device waited, where there is one.
        memory: the most bytes that were held, of the device or of the process.
        operators: the costliest of the steps that were traced.
        traced: how many those were.
        notes: what the numbers cannot tell.
    """

    run: tuple[Part, ...]
    seconds: float
    step: tuple[Part, ...]
    milliseconds: float
    steps: int
    timed: int
    usual: bool
    first: float
    images: float
    busy: float | None
    idle: float | None
    memory: int | None
    operators: tuple[Operator, ...]
    traced: int
    notes: tuple[str, ...]

    def share(self, name: str) -> float:
        """What share a label took, of a step or of the run, whichever has it."""
        return sum(part.share for part in (*self.step, *self.run) if part.name == name)

    def plain(self) -> dict[str, Any]:
        """All of it, for a JSON file."""
        return asdict(self)


def profile(
    watch: Watch,
    traced: Traced | None,
    before: float | None = None,
    memory: int | None = None,
    notes: Sequence[str] = (),
) -> Profile:
    """Make the numbers of a watch, once it ended, those that are told.

    Args:
        watch: what was added up.
        traced: what the trace said, if there is one.
        before: seconds that went before it, since the command was given.
        memory: the most bytes that were held.
        notes: what else the numbers cannot tell.
    """
    phase = next((each for each in (USUAL, TRACED) if watch.steps[each]), FIRST)
    timed = watch.steps[phase]
    seconds = watch.whole + (before or 0.0)
    whole_step = sum(watch.inside[phase].values())
    milliseconds = 1e3 * whole_step / timed if timed else 0.0
    device = traced.device if traced is not None and traced.device else None
    busy = traced.busy if traced is not None and device is not None else None
    return Profile(
        run=tuple(
            Part(name, time, time / seconds) for name, time in _of_run(watch, before).items()
        ),
        seconds=seconds,
        step=_of_step(watch, phase, device),
        milliseconds=milliseconds,
        steps=sum(watch.steps.values()),
        timed=timed,
        usual=phase == USUAL,
        first=sum(watch.inside[FIRST].values()),
        images=watch.samples[phase] / whole_step if whole_step else 0.0,
        busy=busy,
        idle=None if busy is None else max(0.0, 1.0 - busy / milliseconds),
        memory=memory,
        operators=traced.operators if traced is not None else (),
        traced=traced.steps if traced is not None else 0,
        notes=(*notes, *_notes(watch, phase)),
    )


def _of_run(watch: Watch, before: float | None) -> dict[str, float]:
    """Seconds by what they went to; what none of the lines names is ``rest``."""
    found = {} if before is None else {COMMAND: before}
    begun = (watch.around[START], watch.inside[START])
    found[START] = sum(sum(each.values()) for each in begun)
    steps = [seconds for phase, seconds in watch.inside.items() if phase != START]
    found[TRAINING] = sum(sum(each.values()) for each in steps)
    around = [seconds for phase, seconds in watch.around.items() if phase != START]
    for name in ("evaluation", "checkpoint", PROFILING):
        found[name] = sum(each.get(name, 0.0) for each in around)
    total = sum(sum(each.values()) for each in around)
    found[REST] = total - sum(found[name] for name in ("evaluation", "checkpoint", PROFILING))
    return found


def _of_step(watch: Watch, phase: str, device: Mapping[str, float] | None) -> tuple[Part, ...]:
    timed, found = watch.steps[phase], watch.inside[phase]
    whole = sum(found.values())
    if not timed or not whole:
        return ()
    parts: list[Part] = []
    for name in _in_order(found):
        own = [each for each in found if each == name or each.startswith(f"{name}/")]
        time, calls = sum(found[each] for each in own), watch.calls[phase][name]
        on_device = None if device is None else sum(device.get(each, 0.0) for each in own)
        parts.append(Part(name, 1e3 * time / timed, time / whole, calls / timed, on_device))
    return tuple(parts)


def _in_order(found: Mapping[str, float]) -> list[str]:
    """As a step does them; terms below their losses, what is left over last."""
    last = (WAIT, STEP)
    places = {name: place for place, name in enumerate(STEPS)}

    def place(name: str) -> tuple[int, int]:
        above, slash, _ = name.partition("/")
        if name in last:
            return len(STEPS) + 1 + last.index(name), 0
        return places.get(above, len(STEPS)), len(slash)

    return sorted(found, key=place)


def _notes(watch: Watch, phase: str) -> list[str]:
    notes = []
    timed = watch.steps[phase]
    if not timed:
        return ["no step was taken, so none is shown"]
    if phase != USUAL:
        slow = "traced, which slows them" if phase == TRACED else "the run's first, which are slow"
        notes.append(f"the run is too short: the steps that are shown were {slow}")
    if 2 * watch.calls[phase]["backward"] < timed:
        notes.append(
            "the step runs as one piece (speed max), in which parts have no time of their own;"
            " the trace shows what the device did"
        )
    return notes


def table(profile: Profile, title: str, advice: Sequence[str] = ()) -> str:
    """All of it as text, that fits a terminal of 80 columns."""
    lines = [title, "", *_run_lines(profile)]
    if profile.step:
        lines += ["", *_step_lines(profile), "", *_said(profile)]
    if profile.operators:
        lines += ["", *_operator_lines(profile)]
    for word, texts in (("note", profile.notes), ("advice", advice)):
        for text in texts:
            lines += ["", *wrap(f"{word}: {text}", 80)]
    return "\n".join(line.rstrip() for line in lines)


def _run_lines(profile: Profile) -> list[str]:
    lines = [f"{'the whole run':<22}{'seconds':>9}{'share':>8}"]
    for part in profile.run:
        says = SAYS.get(part.name, "")
        if part.name == TRAINING:
            says = f"{profile.steps:,} steps; the first ones {profile.first:.2f} s"
        lines.append(f"  {part.name:<20}{part.time:>9.2f}{part.share:>8.0%}   {says}")
    lines.append(f"  {'all of it':<20}{profile.seconds:>9.2f}{1:>8.0%}")
    return lines


def _step_lines(profile: Profile) -> list[str]:
    devices = profile.busy is not None
    head = f"{'one step':<22}{'ms':>9}{'share':>8}{'calls':>8}"
    lines = [head + f"{'ms of the device':>20}" * devices]
    for part in profile.step:
        above, slash, term = part.name.partition("/")
        name = f"  {term}" if slash else {STEP: REST}.get(above, above)
        line = f"  {name:<20}{part.time:>9.3f}{part.share:>8.0%}{part.calls or 0:>8.3g}"
        says = SAYS.get(part.name, "")
        lines.append(line + (f"{part.device:>20.3f}" if part.device is not None else f"   {says}"))
    line = f"  {'all of it':<20}{profile.milliseconds:>9.3f}{1:>8.0%}"
    lines.append(line if profile.busy is None else f"{line}{profile.busy:>28.3f}")
    return lines


def _said(profile: Profile) -> list[str]:
    usual = "neither first nor traced ones" if profile.usual else "see the note"
    steps = "one step" if profile.timed == 1 else f"{profile.timed:,} steps"
    lines = [f"the mean of {steps}, {usual}: {profile.images:,.0f} images a second"]
    if profile.idle is not None:
        lines.append(f"the device waited {profile.idle:.0%} of a step")
    if profile.memory is not None:
        lines.append(f"the most memory held: {profile.memory / 2**20:,.0f} MiB")
    return lines


def _operator_lines(profile: Profile) -> list[str]:
    head = f"the costliest operators of {profile.traced} steps"
    lines = [f"{head:<53}{'ms a step':>10}{'share':>8}{'calls':>8}"]
    for each in profile.operators:
        name = each.name if len(each.name) <= 49 else f"{each.name[:48]}…"
        lines.append(f"  {name:<51}{each.milliseconds:>10.3f}{each.share:>8.0%}{each.calls:>8.3g}")
    return lines
