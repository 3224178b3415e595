"""A file of JSON that may be there: read into its model, or refused in a line."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from relatum.types import Fault

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path, model: type[Model], again: str) -> Model | None:
    """What the file says; ``None`` where there is none.

    Args:
        path: the file.
        model: what it holds.
        again: how it comes to be anew, for the user of a damaged one.

    Raises:
        Fault: it is damaged, or cannot be read.
    """
    if not path.exists():
        return None
    try:
        return model.model_validate_json(path.read_text())
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise Fault(f"{path} is damaged; delete it and {again}") from error
