"""A run on images that are decoded while they are used has the bits of one that holds them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from relatum.cache import digest_of
from relatum.checkpoint import Interrupted
from relatum.data import Resident, Stored
from relatum.datasets import decoded
from relatum.recipes.recipe import Recipe
from relatum.run import run
from relatum.run.sets import sets_of
from tests.run.runs import CPU, Halts, equal, numbers


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    pixels = torch.randint(256, (50, 12, 9, 3), generator=torch.Generator().manual_seed(0)).byte()
    for number, each in enumerate(pixels):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(each.numpy()).save(path)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def plain(photos: Path) -> Recipe:
    return Recipe(
        dataset=f"folder:{photos}",
        image_size=8,
        student="digits-cnn-small",
        augment=("rrc", "flip", "jitter"),
        validation=0.2,
        epochs=3,
        batch_size=8,
        memory="resident",
    )


def test_it_is_the_same_run_and_goes_on_to_the_same_bits(plain: Recipe, tmp_path: Path) -> None:
    whole = run(plain, tmp_path / "held")
    streamed = plain.but(memory="streamed")
    display = Halts(6)  # in the second epoch
    with pytest.raises(Interrupted):
        run(streamed, tmp_path / "cut", stop=display.stop, display=display)
    record = run(streamed, tmp_path / "cut", resume=True)
    ours, theirs = numbers(record), numbers(whole)
    said = "streamed: 50 images of"
    assert any(each.startswith(said) for each in ours.pop("notes"))
    assert not any(each.startswith(said) for each in theirs.pop("notes"))
    assert ours == theirs
    for name in ("student.safetensors", "best.safetensors", "relations.safetensors"):
        assert equal(tmp_path / "held", tmp_path / "cut", name)


def test_one_may_be_gone_on_with_as_the_other(plain: Recipe, tmp_path: Path) -> None:
    run(plain, tmp_path / "whole")
    display = Halts(6)
    with pytest.raises(Interrupted):
        run(plain, tmp_path / "cut", stop=display.stop, display=display)
    run(plain.but(memory="streamed"), tmp_path / "cut", resume=True)
    assert equal(tmp_path / "whole", tmp_path / "cut")


def test_a_cache_is_of_the_images_however_they_are_held(
    plain: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(plain.but(student="digits-cnn-large", epochs=1), tmp_path / "teacher")
    taught = plain.but(
        teacher=str(tmp_path / "teacher"), method="rrkd", views=2, cache=str(tmp_path / "cache")
    )
    run(taught.but(memory="streamed"), tmp_path / "streamed")
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/**/*.safetensors")}
    assert shards
    run(taught, tmp_path / "held")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/**/*.safetensors")}
    assert after == shards
    assert equal(tmp_path / "streamed", tmp_path / "held")
    held, streamed = (
        sets_of(plain.but(memory=memory), CPU).train for memory in ("resident", "streamed")
    )
    assert isinstance(held, Resident)
    assert isinstance(streamed, Stored)
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    assert digest_of(streamed) == digest_of(held)

    def never(*_: Any) -> Any:
        raise AssertionError("its sum is known")

    monkeypatch.setattr("relatum.cache.identity._digest", never)
    assert digest_of(streamed) == digest_of(sets_of(plain.but(memory="streamed"), CPU).train)
    with pytest.raises(AssertionError, match="its sum is known"):
        digest_of(streamed.take(torch.arange(5)))


def test_what_is_left_out_is_in_the_record(plain: Recipe, photos: Path, tmp_path: Path) -> None:
    bad = photos / "a" / "bad.png"
    bad.write_bytes(b"rubbish")
    try:
        record = run(plain.but(epochs=1, skip_broken=True), tmp_path / "run")
    finally:
        bad.unlink()
    (note,) = (each for each in record.notes if "cannot be read" in each)
    assert note.startswith("1 of 51 images of folder:")
    assert note.endswith("a/bad.png (no image of a known format), and left out")
    assert sum(record.samples.values()) == 50
