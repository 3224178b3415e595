"""The public names are those in ``__all__``: each is there, is documented, and none is left out."""

from inspect import isclass, isfunction, ismodule
from types import ModuleType

import pytest

import relatum
import relatum.losses
from relatum.types import Logits

MODULES = [relatum, relatum.losses]


def names(module: ModuleType) -> list[str]:
    assert hasattr(module, "__all__"), f"{module.__name__} does not say what is public"
    return list(module.__all__)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_all_is_exact(module: ModuleType) -> None:
    listed = names(module)
    assert listed, f"{module.__name__}.__all__ is empty"
    assert len(listed) == len(set(listed))
    assert [name for name in listed if not hasattr(module, name)] == []
    held = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not ismodule(value)
    }
    assert held <= set(listed), "import these in another place, or list them in __all__"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_all_is_documented(module: ModuleType) -> None:
    public = {name: getattr(module, name) for name in names(module)}
    bare = [name for name, value in public.items() if not documented(value)]
    assert bare == [], "these have no docstring of their own"


def documented(value: object) -> bool:
    """Whether a class, function or module of ours has a docstring of its own; others cannot."""
    if not (isclass(value) or isfunction(value) or ismodule(value)):
        return True
    if getattr(value, "__module__", "") == "jaxtyping":  # an alias such as Logits
        return True
    text = (value.__doc__ or "").strip()
    # A dataclass without a docstring is given its signature for one.
    return bool(text) and not (isclass(value) and text.startswith(f"{value.__name__}("))


def test_what_counts_as_documented() -> None:
    class Bare:
        pass

    class Told(Bare):
        """Says something."""

    assert documented(Told)
    assert not documented(Bare)
    assert not documented(lambda: None)
    assert documented(3)
    assert documented(Logits)
