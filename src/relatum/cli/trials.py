"""Run the trials of a search, and say what became of them: a line each, and a table at the end."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from optuna import Study
    from optuna.trial import FrozenTrial

    from relatum.bench.pool import Pool
    from relatum.checkpoint import Stop
    from relatum.tune.found import Found
    from relatum.tune.judged import Judged
    from relatum.tune.study import Search


def line_of(wanted: "Search", trial: "FrozenTrial", study: "Study") -> str:
    """What became of a trial."""
    from relatum.tune.study import finished

    tried = ", ".join(f"{name} {value}" for name, value in wanted.rounded(trial.params).items())
    count = f"[{len(finished(study))}/{wanted.trials}]"
    if trial.state.name != "COMPLETE":  # one that was given up has a value too: its last
        why = trial.user_attrs.get("reason", trial.state.name.lower())
        again = "; it is tried again" if "died" in trial.user_attrs else ""
        return f"{count} trial {trial.number} ({tried}): {why}{again}"
    best = study.best_trial
    mark = ", the best so far" if best.number == trial.number else f" (best {best.value:.4g})"
    return (
        f"{count} trial {trial.number} ({tried}): validation {wanted.metric}"
        f" {trial.value:.4g}{mark}, {trial.user_attrs['seconds']:.1f} s"
    )


def say(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr, flush=True)


def conclude(
    wanted: "Search", study: "Study", out: Path, validation: float, part: "Judged"
) -> None:
    """The table, and what to do next."""
    from rich.console import Console

    from relatum.tune.found import FINAL, PICTURE, found

    done = found(wanted, study, out, validation)
    console = Console()
    console.print(_table(wanted, done))
    final = out / FINAL
    command = f"relatum distill --recipe {shlex.quote(str(done.file))} --seeds 5"
    command += f" --out {shlex.quote(str(final))}"
    values = [float(each.value or 0.0) for each in done.ranked]
    for text in (
        *([part.spread(values)] if part.is_share and len(values) > 1 else []),
        f"chosen by {wanted.metric} on the validation part, of one seed: that it is the best of"
        f" {len(done.ranked)} makes it look better than it is, so take no number from here",
        f"the best recipe: {done.file}; a picture: {out / PICTURE}",
        f"test it once, with several seeds: {command}",
    ):
        console.print(text, highlight=False, soft_wrap=True)


def _table(wanted: "Search", done: "Found") -> object:
    from rich.table import Table

    from relatum.tune.found import SHOWN

    table = Table(box=None, pad_edge=True)
    table.add_column("trial", justify="right")
    table.add_column(f"validation {wanted.metric}", justify="right")
    for each in wanted.space:
        share = f"\n{done.mattered[each.name]:.0%} of it" if each.name in done.mattered else ""
        table.add_column(each.name + share, justify="right")
    for trial in done.ranked[:SHOWN]:
        values = wanted.rounded(trial.params)
        row = [f"{values[each.name]}" for each in wanted.space]
        table.add_row(str(trial.number), f"{trial.value:.4g}", *row)
    return table


def searched(
    wanted: "Search",
    out: Path,
    workers: int,
    device: "torch.device",
    stop: "Stop",
    notes: Sequence[str],
) -> "Study":
    """Run the trials; the notes are said before the first of them."""
    from relatum.bench.workers import Processes
    from relatum.tune.here import Here
    from relatum.tune.study import search

    pool: Pool = Here(device, stop) if workers == 1 else Processes(workers, device)

    def tell(trial: "FrozenTrial", study: "Study") -> None:
        say(line_of(wanted, trial, study))

    def begun() -> None:
        for note in notes:
            say(note)

    try:
        return search(wanted, out, pool, stop, tell, workers, begun)
    finally:
        pool.close()
