"""A network's weights inside what other code bases save of a training.

- RepDistiller and giakoumoglou/distillers: ``ckpt_epoch_240.pth`` and ``*_best.pth`` hold the
  weights under ``model``, beside the epoch, the accuracy and the optimiser's state.
- mdistiller: ``student_best``, ``student_latest``, ``student_240`` hold them under ``model`` too;
  ``best``, ``latest``, ``epoch_240`` hold those of the whole distiller there, whose names begin
  with ``module.student.`` and ``module.teacher.``: taken is the student.
- Elsewhere they lie under ``state_dict``; DataParallel puts ``module.`` before every name, and
  torch.compile ``_orig_mod.``.

The names that remain are those of relatum's own networks: both code bases call the layers of all
that they share alike, and so does ``relatum.models``. Both train on CIFAR-100 with mean (0.5071,
0.4867, 0.4408) and deviation (0.2675, 0.2565, 0.2761), as ``relatum.datasets.cifar`` has them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

UNDER = ("model", "state_dict")
BEFORE_ALL = ("module.", "_orig_mod.")
STUDENT = "student."


def readings(content: Any) -> Iterator[Mapping[str, Tensor]]:
    """Weights by name as a file has them, then with one wrapping after the other taken off.

    Which of them a network wants is for its own names to say: it may have a part of its own that
    is called ``student``.

    Args:
        content: what the file held; of anything else than weights there is no reading.

    Example:
        >>> from torch import ones
        >>> latest = {"epoch": 3, "model": {"module.student.fc.bias": ones(2)}}
        >>> [list(reading) for reading in readings(latest)]
        [['module.student.fc.bias'], ['student.fc.bias'], ['fc.bias']]
    """
    state = _plain(content)
    if state is None and isinstance(content, Mapping):
        found = (_plain(content.get(name)) for name in UNDER)
        state = next((each for each in found if each), None)
    while state is not None:
        yield state
        state = _unwrapped(state)


def _plain(content: Any) -> Mapping[str, Tensor] | None:
    if not isinstance(content, Mapping):
        return None
    plain = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    return content if plain else None


def _unwrapped(state: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    for prefix in BEFORE_ALL:
        if state and all(name.startswith(prefix) for name in state):
            return _below(state, prefix)
    return _below(state, STUDENT) or None


def _below(state: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
