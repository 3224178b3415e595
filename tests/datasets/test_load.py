from pathlib import Path

import pytest
import torch

from relatum.datasets import DATASETS, Dataset, load
from relatum.types import Fault


def stand_in(name: str) -> Dataset:
    from relatum.data import Resident

    data = Resident(torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    return Dataset(name, data, data, (), (0.5,), (0.5,))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bool]]:
    """Where a stand-in for a set was told to look."""
    seen: list[tuple[Path, bool]] = []

    def make(root: Path, download: bool) -> Dataset:
        seen.append((root, download))
        return stand_in("mine")

    monkeypatch.setitem(DATASETS, "mine", make)
    return seen


def test_the_root_is_the_cache_or_named(
    asked: list[tuple[Path, bool]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("mine")
    monkeypatch.setenv("RELATUM_DATA", "~/sets")
    load("mine", download=True)
    load("mine", root=Path("/elsewhere"))
    assert asked == [
        (home / ".cache" / "relatum", False),
        (home / "sets", True),
        (Path("/elsewhere"), False),
    ]


def test_an_unknown_name_meets_the_nearest() -> None:
    with pytest.raises(Fault, match="'fashion_mnist'; the nearest is 'fashion-mnist'"):
        load("fashion_mnist")


@pytest.mark.parametrize("name", ["folder:nowhere", "./nowhere", "/no/where"])
def test_a_path_that_is_not_there(name: str) -> None:
    with pytest.raises(Fault, match="no such folder"):
        load(name)


def test_named_sets_are_not_resized(asked: list[tuple[Path, bool]]) -> None:
    assert load("mine", image_size=8).train.shape == (1, 8, 8)
    with pytest.raises(Fault, match="images of 8 pixels, wanted 32"):
        load("mine", image_size=32)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_what_is_not_here_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        load(name, root=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(words in message for words in (name, str(tmp_path), "--download", "RELATUM_DATA"))


@pytest.mark.parametrize("kind", ["folder", "table", "hf", "wds"])
def test_a_place_that_nobody_has_is_refused(kind: str) -> None:
    with pytest.raises(Fault, match="there is no home folder '~nosuchuser'"):
        load(f"{kind}:~nosuchuser/x.csv")
    with pytest.raises(Fault, match="does not say where the images are"):
        load(f"{kind}:")
