"""One method on one pair: what was measured of it, and what became of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

from relatum.record import Unfinished
from relatum.report.published import TEACHER, Published
from relatum.report.rows import ALONE, Line
from relatum.report.spread import Spread

Seeds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A method on a pair.

    Attributes:
        label: what its records call it.
        line: what was measured; ``None`` where no seed has finished.
        published: the first number that is printed for it.
        rank: 1 + how many methods of the pair are better; ``None`` with fewer than two seeds.
        lacking: what became of seeds that are not there, in sentences.
        state: whether every seed is there, some, or none, and why none is.
    """

    label: str
    line: Line | None
    published: Published | None
    rank: int | None = None
    lacking: tuple[str, ...] = ()
    state: str = "done"

    @property
    def title(self) -> str:
        """What readers call it."""
        return "student alone" if self.label == ALONE else self.label

    def spread(self, metric: str) -> Spread | None:
        """What was measured of it by one name."""
        return self.line.metrics.get(metric) if self.line else None


def standing(label: str, line: Line | None, lost: Sequence[Unfinished], seeds: Seeds) -> Standing:
    """A method with what became of the seeds that it lacks."""
    there = {run.recipe.seed for run in line.runs} if line else set()
    missing = [seed for seed in seeds if seed not in there]
    reasons = {seed: _reason(label, seed, lost) for seed in missing}
    told = list[str]()
    for kind, reason in dict.fromkeys(reasons.values()):
        concerned = [seed for seed in missing if reasons[seed] == (kind, reason)]
        which = f"seed{'s' * (len(concerned) > 1)} {', '.join(map(str, concerned))} "
        told.append(f"{which if line or concerned != missing else ''}{kind}{reason}")
    if not missing:
        return Standing(label, line, None)
    state = "partial" if line else next(iter(reasons.values()))[0]
    return Standing(label, line, None, lacking=tuple(told), state=state)


def _reason(label: str, seed: int, lost: Sequence[Unfinished]) -> tuple[str, str]:
    """Why a seed is not there: what happened, and the words on it."""
    for run in lost:
        if (run.label, run.seed) == (label, seed) or (run.label, run.kind) == (label, "refused"):
            return run.kind, f": {run.reason}"
    if label != ALONE:
        for run in lost:
            if run.label == TEACHER:
                return "not run", f": its teacher {run.kind}: {run.reason}"
    return "not run", ""
