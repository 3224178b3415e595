"""What ``step.py`` measured, in words and in tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

USUAL = "usual"
STRAIGHTFORWARD = "straightforward loop"
Result = Mapping[str, Any]


def medians(found: Result) -> dict[str, float]:
    """Seconds of a step of each way."""
    return {name: statistics.median(each) for name, each in found["seconds_of_a_step"].items()}


def baseline(found: Result) -> str:
    """The straightforward loop at its quickest, which the others are compared with."""
    seconds = medians(found)
    return min((name for name in seconds if name.startswith(USUAL)), key=seconds.__getitem__)


def shown(name: str) -> str:
    """A way's name, as a reader has it."""
    if not name.startswith(USUAL):
        return f"relatum {name}"
    return f"{STRAIGHTFORWARD}{name.removeprefix(USUAL)}".replace("1 workers", "1 worker")


def spread(each: Sequence[float]) -> str:
    """From the least to the most, in milliseconds."""
    return f"{_milliseconds(min(each))} to {_milliseconds(max(each))}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.{0 if seconds >= 0.1 else 2}f}"


def _mebibytes(found: Result, name: str) -> str:
    held = found.get("memory", {}).get(name)
    return "" if held is None else f"{held.get('device_mib', held['process_mib']):,.0f}"


def ways_table(found: Result, result: Result) -> str:
    """Every way of a method: its step, how many times quicker, its floor, memory, 240 epochs."""
    seconds, first = medians(found), baseline(found)
    lines = [
        "| | ms a step | least to most | images/s | times the loop | floor, ms | of the floor"
        " | MiB | 240 epochs, hours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, median in seconds.items():
        least = found["floor_seconds"][name]["seconds"]
        cells = [
            shown(name),
            _milliseconds(median),
            spread(found["seconds_of_a_step"][name]),
            f"{result['batch'] / median:,.0f}",
            f"{seconds[first] / median:.2f}",
            _milliseconds(least),
            f"{median / least:.2f}",
            _mebibytes(found, name),
            f"{median * result['steps_of_240_epochs'] / 3600:,.1f}",
        ]
        lines.append(_row(cells))
    return "\n".join(lines)


def parts_table(found: Result) -> str:
    """The parts of a step of each way, in milliseconds, and their share."""
    parts = list(next(iter(found["parts_seconds"].values())))
    lines = [_row(["", *parts]), "|---" * (len(parts) + 1) + "|"]
    for name, each in found["parts_seconds"].items():
        whole = sum(each.values())
        cells = (f"{_milliseconds(each[part])} ({each[part] / whole:.0%})" for part in parts)
        lines.append(_row([shown(name), *cells]))
    return "\n".join(lines)


def switches_table(found: Result) -> str:
    """What each switch does, one after the other, from ``exact`` on."""
    seconds = medians(found)
    chain = [name for name in seconds if name.split(",")[0] == name and USUAL not in name]
    if "exact" not in chain:
        return ""
    lines = ["| | ms a step | of the line above | of `exact` |", "|---|---|---|---|"]
    before = seconds["exact"]
    for name in chain:
        median = seconds[name]
        ratios = [f"{median / before:.2f}", f"{median / seconds['exact']:.2f}"]
        lines.append(_row([shown(name), _milliseconds(median), *ratios]))
        before = median
    return "\n".join(lines)


def small_job_table(found: Mapping[str, Sequence[float]]) -> str:
    """Seconds from the command to the end."""
    middle = {name: statistics.median(each) for name, each in found.items()}
    first = min(middle[name] for name in middle if name.startswith(USUAL))
    lines = ["| | seconds | times the script |", "|---|---|---|"]
    for name, median in middle.items():
        called = shown(name).replace(STRAIGHTFORWARD, "script")
        lines.append(_row([called, f"{median:.1f}", f"{first / median:.2f}"]))
    return "\n".join(lines)


def rates_line(result: Result) -> str:
    """What the machine reached."""
    reached = ", ".join(
        f"{found['operations_per_second'] / 1e9:,.0f}·10⁹ operations a second in {kind}"
        for kind, found in result["rates"].items()
        if kind != "bytes_per_second"
    )
    return f"{reached}; {result['rates']['bytes_per_second'] / 1e9:,.1f}·10⁹ bytes a second"


def machine_line(result: Result) -> str:
    """Where it was measured, and how busy that was."""
    of = result["machine"]
    where = result["device"] if result["device"] != "cpu" else of["processor"]
    busy = of["load_average"][0]
    return (
        f"{where}, {of['cores']} cores, torch {of['torch']}; images: {result['images']}; load"
        f" average {busy}; medians of {_repeats(result)} blocks of"
        f" {result['steps_of_a_block']} steps"
    )


def _repeats(result: Result) -> int:
    found = next(iter(result["methods"].values()))["seconds_of_a_step"]
    return len(next(iter(found.values())))


def short(result: Result) -> str:
    """The README's: the loop at its quickest, and each speed, for every method."""
    methods = result["methods"]
    lines = [_row([f"ms a step (times the loop), {result['device']}", *methods])]
    lines.append("|---" * (len(methods) + 1) + "|")
    names = [name for name in medians(next(iter(methods.values()))) if "+" not in name]
    lines.append(_row([STRAIGHTFORWARD, *(_at_best(found) for found in methods.values())]))
    for name in names:
        if not name.startswith(USUAL):
            lines.append(_row([shown(name), *(_times(found, name) for found in methods.values())]))
    return "\n".join(lines)


def _at_best(found: Result) -> str:
    return _milliseconds(medians(found)[baseline(found)])


def _times(found: Result, name: str) -> str:
    seconds = medians(found)
    times = seconds[baseline(found)] / seconds[name]
    return f"{_milliseconds(seconds[name])} ({times:.1f}\N{MULTIPLICATION SIGN})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def words(result: Result) -> str:
    """All of it, to read in a terminal or on a page."""
    blocks = [f"{' teaches '.join(result['pair'])}, batches of {result['batch']}"]
    blocks += [machine_line(result), f"Reached: {rates_line(result)}"]
    for place, (method, found) in enumerate(result["methods"].items()):
        apart = found["losses_apart_at_most"]
        blocks.append(f"### {method}: both loops' losses are {apart:.0e} of themselves apart")
        blocks.append(ways_table(found, result))
        if not place:
            blocks.append(switches_table(found))
        if "parts_seconds" in found:
            blocks.append(parts_table(found))
    if "small_job" in result:
        blocks += ["### a small job", small_job_table(result["small_job"])]
    return "\n\n".join(filter(None, blocks))
