"""Maps of the samples and class correlations, from what runs kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from relatum.record import Record
from relatum.report import embedding_map
from relatum.report.class_correlation import correlations
from relatum.report.embedding_map import CACHE, maps
from relatum.report.figures import figures
from relatum.report.kept import NAME, Kept, kept, read
from relatum.report.table import summarise
from tests.report.conftest import Make

CLASSES, IMAGES = 4, 40


def held(seed: int, *, teacher: bool = True) -> dict[str, Any]:
    labels = np.repeat(np.arange(CLASSES), IMAGES // CLASSES)
    values: dict[str, Any] = {"indices": np.arange(IMAGES), "labels": labels}
    for who, of in (("student", seed + 1), ("teacher", 0)):
        if who == "teacher" and not teacher:
            continue
        generator = np.random.default_rng(of)
        embedded = generator.normal(size=(CLASSES, 8))[labels] * 3
        embedded = embedded + generator.normal(size=(IMAGES, 8))
        values[f"{who}_embedding"] = embedded.astype(np.float16)
        values[f"{who}_logits"] = embedded[:, :CLASSES].astype(np.float16)
        values[f"{who}_classes"] = generator.normal(size=(CLASSES, CLASSES)).astype(np.float32)
    return values


@pytest.fixture
def runs(tmp_path: Path, make: Make) -> list[tuple[Path, Record]]:
    """A student alone and two methods, of two seeds each."""
    found = []
    for place, label in enumerate(("none", "kd", "sp")):
        for seed in range(2):
            folder, record = tmp_path / label / f"seed-{seed}", make(label, seed)
            record.save(folder)
            save_file(held(10 * place + seed, teacher=label != "none"), folder / NAME)
            found.append((folder, record))
    return found


def networks(runs: list[tuple[Path, Record]]) -> list[Kept]:
    return kept(summarise([record for _, record in runs]), runs)


def test_the_teacher_comes_first_and_each_method_with_its_lowest_seed(
    runs: list[tuple[Path, Record]],
) -> None:
    found = networks(runs)
    assert [each.title for each in found] == ["teacher", "student alone", "kd", "sp"]
    assert all(each.folder.name == "seed-0" for each in found)


def test_every_network_has_two_maps(runs: list[tuple[Path, Record]]) -> None:
    drawn = maps(networks(runs))
    assert drawn is not None
    assert [len(pictures) for _, pictures in drawn.networks] == [2, 2, 2, 2]
    assert "embedding" in drawn.about
    assert "logits" in drawn.about
    assert "perplexity 13," in drawn.about
    first = drawn.networks[0][1]
    assert [each.caption for each in first] == ["embedding", "logits"]
    assert drawn.key is not None
    assert drawn.key.alt == "Colours: 0, 1, 2, 3."


def test_maps_are_drawn_once(
    runs: list[tuple[Path, Record]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = maps(networks(runs))
    folder = runs[0][0]
    assert len(load_file(folder / CACHE)) == 2
    monkeypatch.setattr(embedding_map, "_embedded", lambda values: pytest.fail("drawn again"))
    assert maps(networks(runs)) == before


def test_other_values_are_drawn_anew(runs: list[tuple[Path, Record]]) -> None:
    folder = runs[0][0]
    before = maps(networks(runs))
    save_file(held(77, teacher=False), folder / NAME)
    after = maps(networks(runs))
    assert before is not None
    assert after is not None
    assert before.networks[1] != after.networks[1]
    assert before.networks[2] == after.networks[2]
    assert len(load_file(folder / CACHE)) == 2


def test_a_network_that_says_the_same_of_everything(runs: list[tuple[Path, Record]]) -> None:
    values = held(0) | {"student_embedding": np.ones((IMAGES, 8), np.float16)}
    save_file(values, runs[2][0] / NAME)
    assert maps(networks(runs)) is not None


def test_what_only_rounding_tells_apart_is_one_point() -> None:
    """t-SNE would make NaN of it, and end the process."""
    same = np.full((20, 4), 3e7, np.float32)
    same[::2, 1] += 2.0
    same[:, 0] -= 1e9
    assert np.array_equal(embedding_map._embedded(same), np.zeros((20, 2), np.float32))
    apart = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert np.unique(embedding_map._embedded(apart), axis=0).shape == (20, 2)


def test_differences_are_those_of_the_means(runs: list[tuple[Path, Record]]) -> None:
    found = correlations(networks(runs))
    assert found is not None
    assert [title for title, _ in found.networks] == ["student alone", "kd", "sp"]
    for title, largest, mean in found.rows:
        place = {"student alone": 0, "kd": 10, "sp": 20}[title]
        off = np.abs(held(place)["student_classes"] - held(place)["teacher_classes"])
        off = off[~np.eye(CLASSES, dtype=bool)]
        assert float(largest) == pytest.approx(off.max(), abs=6e-4)
        assert float(mean) == pytest.approx(off.mean(), abs=6e-5)


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_or_missing_files_are_left_out(
    runs: list[tuple[Path, Record]], content: bytes | None
) -> None:
    path = runs[2][0] / NAME
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert read(runs[2][0]) == {}
    summary = summarise([record for _, record in runs])
    page = "".join(figures(summary, runs))
    assert "<h3>sp</h3>" in page
    assert "<h3>kd</h3>" not in page


def test_nothing_kept_no_section(runs: list[tuple[Path, Record]]) -> None:
    for folder, _ in runs:
        (folder / NAME).unlink()
    assert not any(figures(summarise([record for _, record in runs]), runs))
