"""The command: one short file for each of its verbs. Heavy imports wait until one is called."""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from relatum.cli.bench import bench
from relatum.cli.cache import cache
from relatum.cli.distill import distill
from relatum.cli.doctor import doctor
from relatum.cli.early import Checked
from relatum.cli.evaluate import evaluate
from relatum.cli.export import export
from relatum.cli.inspect import inspect
from relatum.cli.names import names
from relatum.cli.push import push
from relatum.cli.reading import by_itself
from relatum.cli.report import report
from relatum.cli.reproduce import reproduce
from relatum.cli.teach import teach
from relatum.cli.transfer import transfer
from relatum.cli.tune import tune
from relatum.how_far import heard_by

app = typer.Typer(
    name="relatum",
    help="Relational knowledge distillation: teach a small network how a large one relates its"
    " samples to each other.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Checked, short_help="Distil a student by several methods, side by side.")(distill)
app.command(cls=Checked, short_help="Look at what 'distill' would do; train nothing.")(doctor)
app.command(cls=Checked, short_help="Train one network alone, to be a --teacher.")(teach)
app.command(cls=Checked, short_help="Train a new classifier on a run's frozen features.")(transfer)
app.command(cls=Checked, short_help="Store what a teacher says of every training image.")(cache)
app.command(cls=Checked, short_help="Measure a finished run's student again.")(evaluate)
app.command(cls=Checked, short_help="Show a network's taps, input, size and work.")(inspect)
app.command(cls=Checked, short_help="Write a trained student as a file that others run.")(export)
app.command(cls=Checked, short_help="Send a student and its model card to the hub.")(push)
app.command(cls=Checked, short_help="Run a paper's experiment beside what it published.")(reproduce)
app.command(cls=Checked, short_help="Compare methods over pairs of networks and seeds.")(bench)
app.command(cls=Checked, short_help="Search what a method is best run with.")(tune)
app.command(
    name="list", cls=Checked, short_help="List methods, models, pairs, datasets or recipes."
)(names)
app.command(cls=Checked, short_help="Print the table of finished runs, write report.html.")(report)

# Newer versions of typer have a click of their own, older ones that of the package click.
UsageProblem: type[Exception] = next(
    each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException"
)


INTERRUPTED = 130


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"relatum {version('relatum')}")
        raise typer.Exit


TOGETHER = ("distill", "teach", "transfer")
"""What several processes can do together."""


@app.callback()
def _everywhere(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    name = context.invoked_subcommand
    if "RANK" in os.environ and name not in TOGETHER:
        from relatum.launch import started_together

        if started_together():
            raise typer.BadParameter(
                f"'relatum {name}' is done by one process: start it without torchrun, which is for"
                f" {', '.join(TOGETHER)}"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: 0 when all is well, 2 and one line when the user can mend it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know no "±"
    # Pillow warns of each odd picture; those that cannot be read are named in one line
    warnings.filterwarnings("ignore", module="PIL", append=True)
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    if code and "RANK" in os.environ and "torch" in sys.modules:
        from relatum.launch import leave

        leave(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        with heard_by(by_itself):
            code = int(app(arguments, standalone_mode=False, prog_name="relatum") or 0)
        sys.stdout.flush()
        return _interrupted() if code == INTERRUPTED else code  # typer makes a number of Ctrl-C
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        # The reader has left: Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageProblem as error:
        return _usage(error)
    except (Exception, SystemExit) as error:
        from relatum.cli.explain import explain

        if "relatum.launch" in sys.modules:  # else nobody raised what it has
            from relatum.launch import Quiet

            if isinstance(error, Quiet):
                said = explain(error.error)
                return said[1] if said else 1
        if (said := explain(error)) is None:
            raise
        return _refuse(*said)


def _usage(error: BaseException) -> int:
    """What typer has to say: help, where that was all that could be meant, or one line."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(context.get_help() if context else str(error))
        return 0
    where = f" (see {context.command_path} --help)" if context else ""
    said: str = error.format_message() if hasattr(error, "format_message") else str(error)
    return _refuse(f"{said.rstrip('.')}{where}")


def _interrupted() -> int:
    return _refuse("interrupted; what is saved can be gone on with by --resume", INTERRUPTED)


def _refuse(text: str, code: int = 2) -> int:
    if "RANK" in os.environ:
        from relatum.launch import wait_for_first

        wait_for_first()
    line = " ".join(text.split())  # a file's name may hold what moves or colours a terminal
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
    print(f"relatum: {line}", file=sys.stderr)
    return code
