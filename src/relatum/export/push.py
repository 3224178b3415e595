"""Send a student to the Hugging Face hub: gathered in a folder first, then sent whole."""

import shutil
from pathlib import Path
from typing import Any

from relatum.export.card import Licences, write_card
from relatum.export.claim import sha256_of
from relatum.export.formats import FORMATS
from relatum.export.graph import Graph
from relatum.export.job import export
from relatum.export.manifest import NAME, Manifest
from relatum.export.source import Source
from relatum.record import WEIGHTS
from relatum.types import Fault, first_line
from relatum.weights import fingerprint


def token_of() -> str:
    """The hub's token, from HF_TOKEN or a login; never from the command line.

    Raises:
        Fault: huggingface_hub is not installed, or there is none.
    """
    token: str | None = _hub().get_token()
    if not token:
        raise Fault(
            "the hub wants a token that may write: set HF_TOKEN, or log in by 'hf auth login'"
        )
    return token


def stage(source: Source, exported: Path, folder: str | Path, licences: Licences) -> dict[str, int]:
    """Gather what is sent: the weights, what was exported of them, and the model card.

    Nothing of it names a place on this machine.

    Args:
        source: the student of a run.
        exported: where ``relatum export`` put its files, if it did.
        folder: an empty one, or a new one, to gather in.
        licences: for the card.

    Returns:
        Every file's size in bytes, by its path in the folder.

    Raises:
        Fault: what was exported is of other weights, or ``export.json`` names what no export
            writes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = Manifest.load(exported)
    if before is not None:
        if before.weights_sha256 != fingerprint(source.tapped.network):
            raise Fault(
                f"{exported} was exported from other weights than this run has now: export them"
                " again, or remove it"
            )
        _check_names(before)
        for name in (*before.files, NAME):
            _copy(exported / name, folder / name)
        _check_sums(before, folder)
    if before is None or WEIGHTS not in before.files:
        export(Graph(source), ["safetensors"], folder)
    write_card(source, folder, licences)
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return {str(each.relative_to(folder)): each.stat().st_size for each in files}


def send(folder: str | Path, repository: str, token: str, *, private: bool, update: bool) -> str:
    """Make the repository, and upload a folder to it in one commit.

    Args:
        folder: what to send.
        repository: OWNER/NAME.
        token: one that may write.
        private: whether a new repository is for nobody else's eyes.
        update: write into one that exists.

    Returns:
        Its address.

    Raises:
        Fault: the hub refused, or cannot be reached.
    """
    hub = _hub()
    api: Any = hub.HfApi(token=token, library_name="relatum")
    try:
        made = api.create_repo(repository, repo_type="model", private=private, exist_ok=update)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            repo_type="model",
            commit_message="Add a student trained with relatum",
        )
    except Exception as error:  # of the client, and of the two libraries it may send by
        raise Fault(_refused(error, repository)) from error
    return str(made)


def _refused(error: Exception, repository: str) -> str:
    """What the hub, or the way to it, has against it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 409:
        return f"{repository} exists on the hub: choose another name, or --update it"
    if status == 401:
        return "the hub does not know this token: make one that may write, and set HF_TOKEN"
    if status == 403:
        return f"this token may not write to {repository}: is it yours, and the token one for that?"
    if status is not None:
        return f"the hub refused {repository} ({status}: {first_line(error)})"
    return f"the hub cannot be reached ({type(error).__name__}: {first_line(error)})"


def _check_names(manifest: Manifest) -> None:
    """Refuse names that no format has: such a list may lead anywhere."""
    known = {each.file for each in FORMATS.values()}
    for name in manifest.files:
        if name not in known:
            raise Fault(
                f"{NAME} names {name!r}, which is no file that relatum export writes; remove that"
                " folder and export again"
            )


def _check_sums(manifest: Manifest, folder: Path) -> None:
    """Refuse files that are no longer those that were compared with the student."""
    for name, file in manifest.files.items():
        if file.sha256 and file.sha256 != sha256_of(folder / name):
            raise Fault(f"{name} was changed since it was exported: export it again")


def _copy(path: Path, target: Path) -> None:
    for each in (path, *path.rglob("*")):
        if each.is_symlink():
            raise Fault(f"{each} is a symbolic link, and could send any file: export again")
    if not path.exists():
        raise Fault(f"{path} is missing, and {NAME} names it: export it again")
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise Fault("relatum push needs huggingface_hub: pip install relatum[hub]") from error
    return huggingface_hub
