"""The command: one short file for each of its verbs. Heavy imports wait until one is called."""

import sys
from collections.abc import Sequence

import click
import typer

from relatum.cli.distill import distill
from relatum.cli.evaluate import evaluate
from relatum.cli.names import names
from relatum.cli.report import report
from relatum.cli.reproduce import reproduce
from relatum.cli.teach import teach

app = typer.Typer(
    name="relatum",
    help="Relational knowledge distillation: teach a small network how a large one relates its"
    " samples to each other.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(distill)
app.command()(teach)
app.command()(evaluate)
app.command()(reproduce)
app.command(name="list")(names)
app.command()(report)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: 0 when all is well, 2 and one line when the user can mend it."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError:
        return 0
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        return _refuse("interrupted", code=130)
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """One line for what the user can mend; anything else is a fault of ours, with its trace."""
    from relatum.checkpoint import Interrupted
    from relatum.fit import NotFinite
    from relatum.types import Fault

    if isinstance(error, Interrupted):
        return _refuse(f"{error}, and saved; go on with --resume", code=128 + error.signum)
    if isinstance(error, Fault | NotFinite):
        return _refuse(str(error))
    if isinstance(error, BrokenPipeError):
        return 1
    raise error


def _refuse(text: str, code: int = 2) -> int:
    print(f"relatum: {' '.join(text.split())}", file=sys.stderr)
    return code
