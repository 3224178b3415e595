"""``relatum push``: a trained student to the Hugging Face hub."""

import re
from typing import Annotated

import typer

from relatum.cli.export import License, TeacherLicense, folder_of

REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def push(
    run: Annotated[str, typer.Argument(help="A run's folder.")],
    repository: Annotated[str, typer.Argument(help="Where to: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="For nobody else's eyes.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and send nothing.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Write into a repository that exists.")
    ] = False,
    license: License = None,
    teacher_license: TeacherLicense = None,
) -> None:
    """Send a student, what was exported of it and its model card to the Hugging Face hub.

    The token is that of HF_TOKEN, or of 'hf auth login'.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from relatum.export import source_of
    from relatum.export.card import Licences
    from relatum.export.card_text import NAME
    from relatum.export.push import send, stage, token_of
    from relatum.report.words import weight
    from relatum.types import Fault

    if not REPOSITORY.fullmatch(repository):
        raise Fault(f"a repository is called OWNER/NAME, got {repository!r}")
    token = None if dry_run else token_of()
    source = source_of(run)
    if source.record is None:
        raise Fault(f"a model card tells of a run, and {run} is none: give a run's folder")
    with TemporaryDirectory() as folder:
        staged = stage(source, folder_of(source), folder, Licences(license, teacher_license))
        for name, size in staged.items():
            typer.echo(f"{name}  {weight(size)}")
        seen = "private" if private else "public"
        if dry_run:
            card = Path(folder, NAME).read_text(encoding="utf-8")
            typer.echo(f"\n{NAME}:\n\n{card}")
            typer.echo(f"nothing was sent; it would go to {repository}, {seen}")
            return
        assert token is not None
        where = send(folder, repository, token, private=private, update=update)
    typer.echo(f"sent: {where}")
