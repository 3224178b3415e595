"""Weights that are found belong to a run: its record and checkpoint hold them."""

from importlib import import_module
from pathlib import Path

import pytest

from relatum.checkpoint import Interrupted, about_checkpoint
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.types import Fault
from tests.run.runs import Halts, equal, numbers


def test_they_are_kept_when_a_run_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.but(method="sp", balance={"task": 0.25, "sp": 0.75})
    whole = run(recipe, tmp_path / "whole")
    assert set(whole.weights) == {"ce", "sp"}
    assert whole.weights["ce"] == pytest.approx(0.25)
    assert whole.recipe.balance == {"task": 0.25, "sp": 0.75}
    display = Halts(13)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "cut", stop=display.stop, display=display)
    assert about_checkpoint(tmp_path / "cut" / "checkpoint.pt")["weights"] == whole.weights

    def never(*_: object) -> None:
        raise AssertionError("found anew")

    monkeypatch.setattr(import_module("relatum.run.balanced"), "balance", never)
    record = run(recipe, tmp_path / "cut", resume=True)
    assert numbers(record) == numbers(whole)
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_without_it_nothing_changes(recipe: Recipe, tmp_path: Path) -> None:
    """Old checkpoints do not know of it, and are gone on with."""
    display = Halts(3)
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "cut", stop=display.stop, display=display)
    assert not {"balance", "weights"} & set(about_checkpoint(tmp_path / "cut" / "checkpoint.pt"))


def test_what_cannot_be_is_refused_before_anything_is_written(
    recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(Fault, match="the terms are ce and rrkd"):
        run(recipe.but(balance={"ce": 1, "sp": 1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(Fault, match="here is one alone \\(ce\\)"):
        run(recipe.but(method="none", balance="equal"), tmp_path / "run")
    with pytest.raises(Fault, match="whole batches, and microbatch"):
        recipe.but(balance="equal", microbatch=4)


def test_a_weight_that_would_be_replaced_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.but(balance="equal", epochs=0)
    for method in ("sp=77", "sp+ce=2", "kd+sp=0"):
        with pytest.raises(Fault, match=r"balance finds the weights, and method .* leave one"):
            run(recipe.but(method=method), tmp_path / "run")
    bare = recipe.but(labels=False)  # the first term's weight is the pull of all
    with pytest.raises(Fault, match=r"weights but the first one's, .* gives 'kd' one"):
        run(bare.but(method="sp=77+kd=2"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run(bare.but(method="sp=77+kd"), tmp_path / "run")


@pytest.mark.parametrize("text", ["sp", "sp=0", "sp=x", "sp=1,sp=2", "ce=1;sp=1", "Equal", ""])
def test_shares_that_are_none(recipe: Recipe, text: str) -> None:
    with pytest.raises(Fault, match="recipe field 'balance'") as caught:
        recipe.but(balance=text)
    assert str(caught.value).endswith(f", got {text!r}")
    assert str(caught.value).count("got") == 1


def test_shares_are_read_from_a_text(recipe: Recipe) -> None:
    assert recipe.but(balance="ce=1, sp=3").balance == {"ce": 1.0, "sp": 3.0}
    assert recipe.but(balance="equal").balance == "equal"
    again = Recipe.of(recipe.but(balance="ce=1,sp=3").model_dump(mode="json"))
    assert again.balance == {"ce": 1.0, "sp": 3.0}
