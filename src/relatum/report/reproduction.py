"""What a paper says beside what was measured, and whether its claims hold."""

from collections.abc import Sequence

from relatum.recipes.plan import Claim, Plan
from relatum.record import Record
from relatum.report.spread import Spread, difference

UNITS = {
    "probe": "linear probe, %",
    "top1": "top-1, %",
    "kept": "teacher kept, %",
    "gap_cosine": "relation gap",
}


def markdown(plan: Plan, records: Sequence[Record], failures: Sequence[str] = ()) -> str:
    """The table of a reproduction, and its claims, each with what the seeds say about it.

    Args:
        plan: what was run.
        records: of its teachers and arms.
        failures: runs that went wrong by themselves, a line each.
    """
    by_label = {
        label: [record for record in records if record.label == label]
        for label in (plan.teacher.label, *(arm.label for arm in plan.arms))
    }
    lines = [f"## {plan.title}", "", *_table(plan, by_label), ""]
    lines += [f"{_conditions(plan)}", ""]
    if plan.claims:
        lines += ["| | said by | what was measured | holds |", "|---|---|---|---|"]
        lines += [_claim(claim, plan, by_label) for claim in plan.claims]
        lines.append("")
    lines += [f"- {note}" for note in plan.notes]
    lines += [f"- failed: {failure}" for failure in failures]
    return "\n".join(lines).rstrip() + "\n"


def _table(plan: Plan, by_label: dict[str, list[Record]]) -> list[str]:
    metrics = [
        name
        for name in UNITS
        if any(name in record.metrics for runs in by_label.values() for record in runs)
    ]
    size = "encoder (share of the teacher's)"
    heads = ["", "published", *(UNITS[name] for name in metrics), size, "settings", "n"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    teachers = by_label[plan.teacher.label]
    whole = teachers[0].encoder_parameters if teachers else 0
    for label, runs in by_label.items():
        if not runs:
            rows.append(f"| {label} | | {'— | ' * len(metrics)}| | 0 |")
            continue
        part = runs[0].encoder_parameters
        share = f"{part:,}" + (f" ({100 * part / whole:.2f} %)" if whole else "")
        cells = [
            label,
            plan.published.get(label, ""),
            *(_mean(runs, name) for name in metrics),
            share,
            _settings(runs[0]),
            str(len(runs)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _mean(runs: Sequence[Record], name: str) -> str:
    values = [record.metrics[name] for record in runs if name in record.metrics]
    if not values:
        return ""
    digits = 3 if name == "gap_cosine" else 2
    spread = Spread.of(values)
    around = "" if spread.std is None else f" ± {spread.std:.{digits}f}"
    return f"{spread.mean:.{digits}f}{around}"


def _settings(record: Record) -> str:
    recipe = record.recipe
    if not recipe.epochs:
        return "not trained"
    dropout = "" if recipe.dropout is None else f", dropout {recipe.dropout:g}"
    return f"lr {recipe.learning_rate:g}, momentum {recipe.momentum:g}{dropout}"


def _conditions(plan: Plan) -> str:
    recipe = plan.arms[0].recipe
    seeds = ", ".join(map(str, plan.seeds))
    return (
        f"Mean ± standard deviation over seeds {seeds}, teacher included; {recipe.epochs} epochs,"
        f" batch {recipe.batch_size}, last epoch, test images. The probe is one logistic"
        " regression for all, on unaugmented training images."
    )


def _claim(claim: Claim, plan: Plan, by_label: dict[str, list[Record]]) -> str:
    if claim.than.endswith("%"):
        return _claim_kept(claim, by_label.get(claim.arm, []))
    ours, theirs = (
        {record.recipe.seed: record.metrics[plan.metric] for record in by_label.get(label, [])}
        for label in (claim.arm, claim.than)
    )
    if not ours or not theirs:
        return f"| {claim.text} | {claim.source} | not measured | — |"
    found = difference(ours, theirs)
    measured = f"{found.mean:+.2f} points"
    if found.interval is None:
        return f"| {claim.text} | {claim.source} | {measured}, too few seeds for an interval | — |"
    measured += f" (95 % interval {found.interval[0]:+.2f} to {found.interval[1]:+.2f})"
    holds = ("yes" if found.mean > 0 else "**no, the reverse**") if found.clear else "**not shown**"
    return f"| {claim.text} | {claim.source} | {measured} | {holds} |"


def _claim_kept(claim: Claim, runs: Sequence[Record]) -> str:
    wanted = float(claim.than.rstrip(" %"))
    values = [record.metrics["kept"] for record in runs if "kept" in record.metrics]
    if not values:
        return f"| {claim.text} | {claim.source} | not measured | — |"
    spread = Spread.of(values)
    around = "" if spread.std is None else f" ± {spread.std:.2f}"
    off = difference(
        {record.recipe.seed: record.metrics["kept"] for record in runs},
        {record.recipe.seed: wanted for record in runs},
    )
    if off.interval is not None and not off.clear:
        more, holds = f"{off.mean:+.2f}, within what so few seeds can tell apart", "yes"
    else:
        more, holds = ("more", "yes") if spread.mean >= wanted else ("less", "**no**")
    return f"| {claim.text} | {claim.source} | {spread.mean:.2f}{around} %: {more} | {holds} |"
