"""A network's weights inside what other code bases save of a training.

- RepDistiller and giakoumoglou/distillers: ``ckpt_epoch_240.pth`` and ``*_best.pth`` hold the
  weights under ``model``, beside the epoch, the accuracy and the optimiser's state.
- mdistiller: ``student_best``, ``student_latest``, ``student_240`` hold them under ``model`` too;
  ``best``, ``latest``, ``epoch_240`` hold those of the whole distiller there, whose names begin
  with ``module.student.`` and ``module.teacher.``: taken is the student.
- timm's ``train.py`` and torchvision's references hold them under ``state_dict`` and ``model``, and
  their running mean, which is what both evaluate, under ``state_dict_ema`` and ``model_ema``: taken
  is the mean. ``AveragedModel`` counts in ``n_averaged`` beside it.
- Elsewhere they lie under ``state_dict`` or ``model_state_dict``; DataParallel puts ``module.``
  before every name, torch.compile ``_orig_mod.``, and a Lightning module the name that it gave its
  network, beside what else it holds.

The names that remain are those of relatum's own networks: both code bases call the layers of all
that they share alike, and so does ``relatum.models``. Both train on CIFAR-100 with mean (0.5071,
0.4867, 0.4408) and deviation (0.2675, 0.2565, 0.2761), as ``relatum.datasets.cifar`` has them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

UNDER = ("state_dict_ema", "model_ema", "model", "state_dict", "model_state_dict")
BEFORE_ALL = ("module.", "_orig_mod.")
AVERAGED = "n_averaged"
PARTS = ("student.", "model.", "network.", "net.", "backbone.")
"""What stands before the names of the network, where there are others."""


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
    if AVERAGED in state:
        state = {name: value for name, value in state.items() if name != AVERAGED}
    for prefix in BEFORE_ALL:
        if state and all(name.startswith(prefix) for name in state):
            return _below(state, prefix)
    return next((found for prefix in PARTS if (found := _below(state, prefix))), None)


def _below(state: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
