"""The options of ``--profile``, which several commands have."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

Profile = Annotated[
    bool,
    typer.Option(
        "--profile", help="Say where the time of each method's first run goes: a table, a trace."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--profile-steps", min=1, help="Steps that --profile traces. [default: 10]"),
]


def check(wanted: bool, steps: int | None) -> None:
    """Look at whether the two options agree.

    Raises:
        Fault: a number of steps for a profile that nobody wants.
    """
    from relatum.faults import Fault

    if steps is not None and not wanted:
        raise Fault("--profile-steps says how many steps --profile traces: give both")


@contextmanager
def profiling(wanted: bool, steps: int | None) -> Iterator[None]:
    """Profile what is run meanwhile, where that was asked for.

    Raises:
        Fault: a number of steps for a profile that nobody wants.
    """
    check(wanted, steps)
    if not wanted:
        yield
        return
    from relatum.run.profiled import STEPS, asked

    with asked(steps or STEPS, command=True):
        yield
