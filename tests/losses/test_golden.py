"""Every loss against the numbers of its authors' code."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import relatum.losses
from tests.golden import adapters

FOLDER = Path(__file__).parents[1] / "golden"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "index.json").read_text())
BUFFERS = {"queue_ptr": "pointer"}
"""What the reference calls a buffer, where we call it otherwise."""
UNRECORDED = {"pointer", "student_normaliser", "teacher_normaliser", "fixed", "key"}
"""State that begins as it is made."""


def build(case: dict[str, Any], arrays: Any) -> Any:
    """The loss of a case in float64, its parameters and buffers set; a function as it is."""
    kind, dims = getattr(relatum.losses, case["loss"]), case.get("dims", {})
    if not inspect.isclass(kind):
        return kind
    loss: Any = adapters.build(case["loss"], case["kwargs"], dims)
    if loss is None:
        wanted = inspect.signature(kind).parameters
        sizes = {name: size for name, size in dims.items() if name in wanted}
        loss = kind(**sizes, **case["kwargs"])
    loss = loss.double()
    state = {name: torch.from_numpy(arrays[key]) for name, key in case.get("state", {}).items()}
    missing, unknown = loss.load_state_dict(state, strict=False)
    assert not unknown
    assert set(missing) <= UNRECORDED
    return loss


def given(arrays: Any, keys: dict[str, Any]) -> dict[str, Any]:
    """The arguments of one call; a list of keys becomes a tuple of tensors."""

    def leaf(key: str) -> Tensor:
        value = torch.from_numpy(arrays[key])
        return value.requires_grad_(value.is_floating_point())

    return {
        name: tuple(map(leaf, key)) if isinstance(key, list) else leaf(key)
        for name, key in keys.items()
    }


def found(name: str, loss: Any, value: Tensor, inputs: dict[str, Any]) -> Any:
    """What the loss has for one expected number: a tensor, a tuple of them, or None."""
    if name in ("loss", "margin"):
        return value
    if not name.startswith("grad_"):
        return loss.get_buffer(BUFFERS.get(name, name))
    source = inputs.get(name.removeprefix("grad_"))
    if source is None:
        source = loss.get_parameter(name.removeprefix("grad_"))
    return tuple(each.grad for each in source) if isinstance(source, tuple) else source.grad


def compare(label: str, have: Any, want: Any, case: dict[str, Any]) -> None:
    """Fail unless every entry is within the case's tolerance."""
    if isinstance(have, tuple):
        for place, (each, wanted) in enumerate(zip(have, want, strict=True)):
            compare(f"{label}[{place}]", each, wanted, case)
        return
    if want is None:
        assert have is None, f"{label}: a gradient where the authors' code has none"
        return
    want = np.asarray(want)
    have = np.zeros_like(want) if have is None else have.detach().numpy()
    assert have.shape == want.shape, label
    allowed = case["rtol"] * np.abs(want).max() + case["atol"]
    assert np.abs(have - want).max() <= allowed, label


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_equals_the_authors_code(case: dict[str, Any]) -> None:
    with np.load(FOLDER / case["file"]) as arrays:
        loss = build(case, arrays)
        for number, step in enumerate(case.get("steps", [case])):
            inputs = given(arrays, step["inputs"])
            if isinstance(loss, nn.Module):
                loss.zero_grad()
            value = loss(**inputs)
            if value.requires_grad:
                value.backward()
            for name, key in step["expected"].items():
                want: Any = None
                if isinstance(key, list):
                    want = [arrays[each] for each in key]
                elif key is not None:
                    want = arrays[key]
                have = found(name, loss, value, inputs)
                compare(f"step {number}: {name}", have, want, case)


def test_every_file_is_used() -> None:
    assert {path.name for path in FOLDER.glob("*.npz")} == {case["file"] for case in CASES}
