"""How methods stand to each other, pair by pair: measured beside published, and ranked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relatum.recipes.benchmark import Pair
from relatum.record import Record, Unfinished
from relatum.report import comparisons
from relatum.report.comparisons import Pooled
from relatum.report.pairs import Protocol, apart, belongs, by_pair, by_protocol, pair_of
from relatum.report.published import TEACHER, Published, lookup
from relatum.report.rows import ALONE
from relatum.report.standing import Seeds, Standing, standing
from relatum.report.table import Metric, Summary, primary_of, summarise
from relatum.types import Fault


@dataclass(frozen=True, slots=True)
class PairStandings:
    """All methods on one pair.

    Attributes:
        pair: who teaches whom.
        summary: its runs, with differences to the baseline by Dunnett's test; ``None`` where no
            run has finished.
        teacher: the teacher's published accuracy.
        methods: best first, by rank and then by mean; those without a run last.
        pooled: the methods with two seeds or more, and their common spread.
        smallest: the smallest difference to the baseline that so many seeds would show.
        uneven: the method whose spread stands out beyond chance.
    """

    pair: Pair
    summary: Summary | None
    teacher: Published | None
    methods: tuple[Standing, ...]
    pooled: Pooled | None = None
    smallest: float | None = None
    uneven: str | None = None

    @property
    def title(self) -> str:
        """Teacher and student, by name."""
        return " → ".join(filter(None, self.pair))

    def of(self, label: str) -> Standing | None:
        """A method by its label."""
        return next((each for each in self.methods if each.label == label), None)


@dataclass(frozen=True, slots=True)
class Standings:
    """The table of a benchmark: the runs of one protocol.

    Attributes:
        protocol: how students were trained.
        metric: what they are compared by.
        baseline: the label of what they are compared with.
        pairs: in the benchmark's order.
        labels: the methods, as they were asked for or first appear.
        which: in what the protocol differs from that of other tables of the same folder.
    """

    protocol: Protocol
    metric: Metric
    baseline: str
    pairs: tuple[PairStandings, ...]
    labels: tuple[str, ...]
    which: str = ""

    @property
    def title(self) -> str:
        """What the table is called."""
        scale = self.protocol.recipe.scale
        return (
            f"{self.protocol.recipe.dataset}, {self.metric.title}"
            + (f", at scale {scale:g}: not comparable with published numbers" if scale != 1 else "")
            + (f" ({self.which})" if self.which else "")
        )

    @property
    def beside(self) -> str:
        """What the baseline is called in a sentence."""
        return "the student alone" if self.baseline == ALONE else self.baseline


def standings(
    records: Sequence[Record],
    unfinished: Sequence[Unfinished] = (),
    baseline: str = ALONE,
    *,
    pairs: Sequence[Pair] = (),
    labels: Sequence[str] = (),
    seeds: Seeds = (),
) -> Standings:
    """Put the runs of one protocol into a table: pairs × methods.

    Every method of a pair is compared with the baseline by Dunnett's test, and ranked by
    Tukey's; both are of the last epoch, and see ``relatum.report.comparisons`` for what they
    take for granted. Published numbers stand beside and take no part.

    Args:
        records: finished runs; those of teachers are passed over, because students' records
            hold what their teacher reaches.
        unfinished: runs that were refused or failed.
        baseline: the label of the method that the others are compared with.
        pairs: those that were asked for; others count too.
        labels: the methods that were asked for, in order; others follow as they appear.
        seeds: the seeds that were asked for; others count too.

    Raises:
        Fault: there is no finished student; students were trained by different protocols, or
            nothing was measured; the runs of one label differ in more than their seed.
    """
    students = [record for record in records if record.label != TEACHER]
    metric = _metric(students)
    lost = [each for each in unfinished if each.label != TEACHER]
    seen = [*(each.label for each in students), *(each.label for each in lost)]
    tried = {*seeds, *(each.recipe.seed for each in students), *(each.seed for each in lost)}
    maker = _Maker(
        protocol=Protocol.of(students[0]),
        metric=metric,
        baseline=baseline,
        labels=tuple(dict.fromkeys([*labels, *seen])),
        seeds=tuple(sorted(tried)),
        unfinished=tuple(unfinished),
    )
    found = by_pair(students, [*pairs, *map(pair_of, unfinished)]).items()
    return Standings(
        protocol=maker.protocol,
        metric=metric,
        baseline=baseline,
        pairs=tuple(maker.pair(pair, runs) for pair, runs in found),
        labels=maker.labels,
    )


def _metric(students: Sequence[Record]) -> Metric:
    """What runs of one protocol are compared by."""
    if not students:
        raise Fault("standings need one finished run of a student at least, got none")
    several = by_protocol(students)
    if several[1:]:
        kinds = " and ".join(_which(several))
        raise Fault(f"one table is of one protocol, and these runs have {kinds}; make 'tables'")
    metric = primary_of(students)
    if metric is None:
        raise Fault("standings need something that was measured on the test images")
    return metric


def tables(
    records: Sequence[Record],
    unfinished: Sequence[Unfinished] = (),
    baseline: str = ALONE,
    *,
    pairs: Sequence[Pair] = (),
    labels: Sequence[str] = (),
    seeds: Seeds = (),
) -> tuple[Standings, ...]:
    """One table for each protocol that there is, named by what they differ in.

    A refused or failed run says nothing of its protocol: where there are several, it stands in
    the tables that have its pair, or else in all.

    Raises:
        Fault: as ``standings`` does, but for the protocols.
    """
    several = by_protocol(records)
    if not several[1:]:
        made = standings(records, unfinished, baseline, pairs=pairs, labels=labels, seeds=seeds)
        return (made,)
    every = [by_pair(students) for students in several]
    found = list[Standings]()
    for which, students, own in zip(_which(several), several, every, strict=True):
        lost = [
            run
            for run in unfinished
            if any(belongs(run, pair) for pair in own)
            or not any(belongs(run, pair) for others in every for pair in others)
        ]
        found.append(replace(standings(students, lost, baseline), which=which))
    return tuple(found)


def _which(several: Sequence[Sequence[Record]]) -> list[str]:
    return apart([Protocol.of(students[0]) for students in several])


@dataclass(frozen=True, slots=True)
class _Maker:
    """What all pairs of a table share."""

    protocol: Protocol
    metric: Metric
    baseline: str
    labels: tuple[str, ...]
    seeds: Seeds
    unfinished: tuple[Unfinished, ...]

    def pair(self, pair: Pair, runs: Sequence[Record]) -> PairStandings:
        """All methods on one pair."""
        lost = [run for run in self.unfinished if belongs(run, pair) or _teaches(run, pair)]
        summary, pooled = self._compared(summarise(runs)) if runs else (None, None)
        ranks = comparisons.ranks(pooled, higher=self.metric.higher) if pooled else {}
        lines = {line.label: line for line in summary.students} if summary else {}
        methods = [
            replace(
                standing(label, lines.get(label), lost, self.seeds),
                published=self._published(pair, label),
                rank=ranks.get(label),
            )
            for label in self.labels
        ]
        return PairStandings(
            pair=pair,
            summary=summary,
            teacher=self._published(pair, TEACHER),
            methods=tuple(sorted(methods, key=self._place)),
            pooled=pooled,
            smallest=comparisons.smallest(pooled, self.baseline) if pooled else None,
            uneven=comparisons.uneven(pooled) if pooled else None,
        )

    def _compared(self, summary: Summary) -> tuple[Summary, Pooled | None]:
        """A pair's summary with its methods compared all at once, and their common spread."""
        groups = {
            line.label: line.metrics[self.metric.name].values
            for line in summary.students
            if self.metric.name in line.metrics
        }
        pooled = comparisons.pool(groups)
        found = comparisons.dunnett(pooled, self.baseline) if pooled else {}
        lines = tuple(
            line if line.kind == "teacher" else replace(line, difference=found.get(line.label))
            for line in summary.lines
        )
        changed = replace(summary, lines=lines, primary=self.metric, baseline=self.baseline)
        return changed, pooled

    def _published(self, pair: Pair, label: str) -> Published | None:
        if self.protocol.begun:
            return None
        return next(iter(lookup(self.protocol.recipe.dataset, *pair, label)), None)

    def _place(self, method: Standing) -> tuple[bool, bool, int, float]:
        """Where it stands: by rank and mean; then what has no rank, then what is not there."""
        spread = method.spread(self.metric.name)
        mean = spread.mean if spread else 0.0
        return (
            spread is None,
            method.rank is None,
            method.rank or 0,
            -mean if self.metric.higher else mean,
        )


def _teaches(run: Unfinished, pair: Pair) -> bool:
    return run.label == TEACHER and run.student == pair.teacher
