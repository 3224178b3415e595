"""How large a tensor a computation makes: what a broadcast that nobody sees would show in."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    most: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not func.is_view:
            self.most = max(self.most, made.numel())
        return made


def widest(function: Callable[[], Tensor]) -> int:
    """Entries of the largest tensor that is made, forward and backward."""
    with _Watch() as watch:  # type: ignore[no-untyped-call]
        function().backward()  # type: ignore[no-untyped-call]
    most: int = watch.most
    return most
