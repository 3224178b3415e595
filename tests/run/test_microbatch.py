"""A run whose batches go through the networks in parts."""

from pathlib import Path

import pytest
import torch

from relatum.recipes.recipe import Recipe
from relatum.run import run
from tests.run.runs import weights


def test_it_trains_the_same_student(recipe: Recipe, tmp_path: Path) -> None:
    """On the digits, where 1,437 images make eleven batches of 128; the last one is short."""
    plain = recipe.but(student="mnist-mlp-32", dropout=0.0, method="sp+rrd", drop_last=False)
    whole = run(plain, tmp_path / "whole")
    parts = run(plain.but(microbatch=48), tmp_path / "parts")
    torch.testing.assert_close(
        weights(tmp_path / "parts"), weights(tmp_path / "whole"), rtol=1e-5, atol=1e-5
    )
    for row, wanted in zip(parts.rows, whole.rows, strict=True):
        assert row.losses == pytest.approx(dict(wanted.losses), rel=1e-4)
    assert not any("BatchNorm" in note for note in parts.notes)


def test_it_says_what_batchnorm_makes_of_it(recipe: Recipe, tmp_path: Path) -> None:
    record = run(recipe.but(epochs=1, microbatch=48), tmp_path)
    (note,) = (note for note in record.notes if "BatchNorm" in note)
    assert "(stages.0.bn): it normalises each microbatch of 48 by itself" in note
