"""What has to be said below standings, so that nobody takes them for more than they are."""

from collections.abc import Iterator

from relatum.report.pairs import NOBODY
from relatum.report.published import Published
from relatum.report.rows import ALONE
from relatum.report.standings import PairStandings, Standings
from relatum.report.words import number


def notes(found: Standings, *, brief: bool = False) -> list[str]:
    """What holds for all pairs of a table; brief, of what was measured alone."""
    told = [*_terms(found), _measured(found, brief), *_tests(found)]
    return told if brief else [*told, *_printed(found)]


def _terms(found: Standings) -> Iterator[str]:
    """On what terms, where these are not those of published numbers."""
    recipe = found.protocol.recipe
    if recipe.scale != 1:
        yield (
            f"At scale {recipe.scale:g} ({recipe.epochs} epochs), for a first look: not comparable"
            " with published numbers."
        )
    elif _cells(found) and (departures := found.protocol.departures):
        yield (
            f"Not the protocol of the published numbers, and so not comparable with them:"
            f" {'; '.join(departures)}."
        )


def _measured(found: Standings, brief: bool) -> str:
    counts = {each.line.n for pair in found.pairs for each in pair.methods if each.line}
    low, high = min(counts), max(counts)
    span = str(low) if low == high else f"{low} to {high}"
    images = dict(found.protocol.images).get("test", 0)
    text = (
        f"Measured: {found.metric.title} after the last epoch, mean ± standard deviation over"
        f" n = {span} seed{'s' * (span != '1')}; nothing was chosen by the"
        f" {f'{images:,} ' if images else ''}test images."
    )
    if not brief and _any(found, f"best_on_test_{found.metric.name}"):
        text += (
            " Best on test is every run's best epoch by the test images themselves: too high, and"
            " only there because papers report it."
        )
    return text


def _any(found: Standings, metric: str) -> bool:
    return any(each.spread(metric) for pair in found.pairs for each in pair.methods)


def _tests(found: Standings) -> Iterator[str]:
    if any(pair.smallest for pair in found.pairs):
        yield (
            f"Δ: difference to {found.beside} with a 95 % interval and p by Dunnett's test, which"
            " hold for all methods of a pair together (every pair by itself), with one spread"
            " pooled over the methods. Methods share seeds, and so initialisation and order; the"
            " test takes runs for independent and does not use it."
        )
    if any(each.rank for pair in found.pairs for each in pair.methods):
        yield (
            "Rank: 1 + the number of methods of the pair that are better by Tukey's test at 5 %."
            " Bold: rank 1, all that these seeds cannot tell from the best."
        )


def _printed(found: Standings) -> Iterator[str]:
    held = _cells(found)
    if not held:
        return
    yield (
        "Published: top-1 as printed (which epoch is reported, by the test images where it is the"
        " best; how many runs it is the mean of; ? where that is inferred or nobody says). From "
        + "; ".join(dict.fromkeys(each.source for each in held))
        + "."
    )
    for other in dict.fromkeys((each.source, each.other) for each in held if each.other):
        yield f"‡ {other[0]}, on other terms: {other[1]}."
    for note in dict.fromkeys((each.source, each.note) for each in held if each.note):
        yield f"{note[0]}: {note[1]}."


def _cells(found: Standings) -> list[Published]:
    """Every published number that a table shows."""
    printed = [
        cell
        for pair in found.pairs
        for cell in (pair.teacher, *(each.published for each in pair.methods))
    ]
    return [each for each in printed if each is not None]


def pair_notes(found: Standings, pair: PairStandings) -> list[str]:
    """What holds for one pair: what its seeds can show, and what is not there."""
    return [*_power(found, pair), *_lacking(pair), *_unequal(pair)]


def _power(found: Standings, pair: PairStandings) -> Iterator[str]:
    digits, unit = found.metric.digits, " points" if found.metric.percent else ""
    alone = pair.of(found.baseline)
    single = [each.title for each in pair.methods if each.line and each.line.n < 2]
    if pair.pooled is not None and pair.smallest is not None:
        yield (
            f"Pooled standard deviation {number(pair.pooled.std, digits)}{unit}"
            f" ({pair.pooled.freedom} degrees of freedom): a true difference to {found.beside} of"
            f" {number(pair.smallest, digits)}{unit} would be shown four times of five, a smaller"
            " one less often (Dunnett's test at 5 %)."
        )
    elif alone is None or alone.line is None:
        yield f"There is no run of {found.beside} to compare with."
    elif pair.pooled is None and any(each.line and each.line.n > 1 for each in pair.methods):
        yield "Seeds do not differ at all, so that there is no spread to test by."
    if pair.uneven is not None:
        other = pair.of(pair.uneven)
        yield (
            f"{other.title if other else pair.uneven} spreads further than chance would have it"
            " (Cochran's test at 1 %); the pooled spread, and with it every interval, is wider"
            " for it."
        )
    if single:
        yield f"One seed is no evidence, so not tested and not ranked: {', '.join(single)}."


def _lacking(pair: PairStandings) -> Iterator[str]:
    for method in pair.methods:
        for reason in method.lacking:
            yield f"{method.title}: {reason}."


def _unequal(pair: PairStandings) -> Iterator[str]:
    """In what the methods of a pair were not treated alike."""
    if pair.summary is None:
        return
    for line in pair.summary.students:
        if line.mark:
            yield f"† {line.title} made {line.steps} updates, another number than the others."
    runs = [run for line in pair.summary.students for run in line.runs]
    rates = {run.label: f"{run.recipe.learning_rate:g}" for run in runs}
    if len(set(rates.values())) > 1:
        told = ", ".join(f"{label} {rate}" for label, rate in rates.items())
        yield f"Learning rates differ: {told}."
    weights = {run.teacher.weights_sha256 for run in runs if run.teacher and run.label != ALONE}
    if pair.pair.teacher != NOBODY and len(weights) > 1:
        yield f"Students learnt from {len(weights)} teachers of different weights."
