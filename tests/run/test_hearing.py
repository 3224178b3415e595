"""Each network sees each set once, in batches that its layers choose; the numbers are the same."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relatum.data import Batches, Resident
from relatum.evaluate import collect
from relatum.models import create
from relatum.recipes.recipe import Recipe
from relatum.run import hearing, run
from relatum.run.again import evaluate_again
from relatum.run.hearing import LARGEST, Hearing, fitting, hear
from relatum.taps import Tapped


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each network was shown a set of so many images: by its parameters and those."""
    seen: Counter[tuple[int, int]] = Counter()

    def counted(tapped: Tapped, batches: Any, *args: Any, **options: Any) -> Any:
        said = collect(tapped, batches, *args, **options)
        seen[sum(each.numel() for each in tapped.parameters()), len(said)] += 1
        return said

    monkeypatch.setattr(hearing, "collect", counted)
    return seen


STUDENT, TEACHER = (
    sum(
        each.numel()
        for each in create(f"digits-cnn-{size}", channels=1, size=8, classes=10).parameters()
    )
    for size in ("small", "large")
)
TEST, VALIDATION = 359, 144
TRAIN = 1438 - VALIDATION


def test_a_run_shows_each_network_each_set_once(
    recipe: Recipe, tmp_path: Path, passes: Counter[tuple[int, int]]
) -> None:
    """The student once for each state that is measured: after every epoch, and the best again."""
    epochs = 3
    wanted = recipe.but(
        epochs=epochs, validation=0.1, watch_test=True, probes=("linear", "knn"), method="kd"
    )
    record = run(wanted, tmp_path)
    assert record.best_epoch is not None
    again = record.best_epoch != epochs
    assert passes == {
        (TEACHER, VALIDATION): 1,
        (TEACHER, TEST): 1,
        (TEACHER, TRAIN): 1,
        (STUDENT, VALIDATION): epochs,
        (STUDENT, TEST): epochs + again,
        (STUDENT, TRAIN): 1,
    }


def test_a_student_alone_is_seen_once_in_the_end(
    recipe: Recipe, tmp_path: Path, passes: Counter[tuple[int, int]]
) -> None:
    run(recipe.but(teacher=None, method="none"), tmp_path)
    assert passes == {(STUDENT, TEST): 1}


def test_the_last_epoch_is_not_measured_again_where_it_is_the_best(
    recipe: Recipe, tmp_path: Path, passes: Counter[tuple[int, int]]
) -> None:
    record = run(recipe.but(epochs=1, validation=0.1), tmp_path)
    assert record.best_epoch == 1
    assert passes[STUDENT, TEST] == 1
    best = {name: value for name, value in record.metrics.items() if name.startswith("best_")}
    assert best == {f"best_{name[5:]}": record.metrics[name[5:]] for name in best}
    assert "best_top1" in best


def test_a_finished_run_is_heard_once_again(
    recipe: Recipe, tmp_path: Path, passes: Counter[tuple[int, int]]
) -> None:
    record = run(recipe.but(epochs=1, probes=("knn",)), tmp_path)
    passes.clear()
    found = evaluate_again(tmp_path, probes=("knn",))
    assert found == {name: value for name, value in record.metrics.items() if name in found}
    assert passes == {(STUDENT, TEST): 1, (TEACHER, TEST): 1, (STUDENT, 1438): 1}


def test_what_has_changed_is_asked_again() -> None:
    tapped = Tapped(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), {})
    data = Resident(torch.zeros(5, 1, 2, 2, dtype=torch.uint8))
    heard = Hearing()
    before = heard(tapped, data)
    with torch.no_grad():
        for each in tapped.parameters():
            each.add_(1.0)
    assert heard(tapped, data) is before
    heard.forget(tapped)
    torch.testing.assert_close(heard(tapped, data).values["output"], before.values["output"] + 1)


def images(count: int, channels: int, size: int) -> Resident:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, channels, size, size), generator=generator)
    return Resident(pixels.to(torch.uint8), torch.arange(count) % 10)


def test_batches_are_what_the_largest_layer_leaves_room_for() -> None:
    """64 maps of 32×32 floats enter and leave a layer of resnet8x4: half a mebibyte an image."""
    wide = create("resnet8x4", channels=3, size=32, classes=10)
    assert fitting(Tapped(wide, {}), (3, 32, 32)) == 64
    assert fitting(Tapped(nn.Flatten(), {}), (1, 2, 2)) == LARGEST
    assert fitting(Tapped(nn.Flatten(), {}), (3, 4096, 4096)) == 1  # no image is too large


def test_cut_otherwise_they_say_the_same() -> None:
    network = create("resnet8", channels=3, size=32, classes=10)
    tapped = Tapped(network, network.taps)  # type: ignore[arg-type]
    data = images(700, 3, 32)
    assert fitting(tapped, data.shape) < len(data)
    found = hear(tapped, data)
    whole = collect(tapped, Batches(data, len(data)).epoch(0), ("output", "embedding"))
    for name, values in whole.values.items():
        torch.testing.assert_close(found.values[name], values, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.indices, torch.arange(len(data)))
