import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from relatum.record import Record, find
from relatum.report.canvas import Picture
from relatum.report.matrices import NAME, Gallery, gallery, read
from relatum.report.table import summarise

Make = Callable[..., Record]
Save = Callable[..., None]
Matrices = Callable[..., dict[str, Any]]


def shown(folder: Path) -> Gallery | None:
    runs = find(folder)
    return gallery(summarise([record for _, record in runs]), runs)


def pixels(picture: Picture) -> Any:
    kind, content = picture.source.split(",", 1)
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


def test_every_network_and_its_difference(experiment: Path) -> None:
    found = shown(experiment)
    assert found is not None
    titles = [title for title, _ in found.networks]
    assert titles == ["teacher", "student alone", "kd", "pkt", "rkd", "rrkd", "sp"]
    assert [len(pictures) for _, pictures in found.networks] == [1, *[2] * 6]
    assert len(found.scales) == 2
    assert (found.notes, found.images) == ((), 50)


def test_numbers_in_words(tmp_path: Path, make: Make, save: Save) -> None:
    """Off the diagonal the teacher has 0.5 and the student 0.75 everywhere."""
    held = {
        "student": np.full((4, 4), 0.75, np.float32) + 0.25 * np.eye(4, dtype=np.float32),
        "teacher": np.full((4, 4), 0.5, np.float32) + 0.5 * np.eye(4, dtype=np.float32),
        "indices": np.arange(4),
    }
    save(tmp_path, make("sp"), **held)
    found = shown(tmp_path)
    assert found is not None
    (_, [own]), (_, [student, difference]) = found.networks
    assert "from 0.50 to 1.00, mean 0.50 between different images" in own.alt
    assert "mean 0.75" in student.alt
    assert difference.caption == "less the teacher's, mean |Δ| 0.250"


def test_a_student_like_its_teacher_is_white_where_they_differ(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    held = matrices(0, 0.4, teacher=True, labels=False)
    save(tmp_path / "a", make("near"), **{**held, "student": held["teacher"]})
    save(tmp_path / "b", make("far"), **held)
    found = shown(tmp_path)
    assert found is not None
    near, far = (dict(found.networks)[title][1] for title in ("near", "far"))
    middle = (slice(200, 300), slice(200, 300))
    assert pixels(near)[middle].min() > 240
    assert pixels(far)[middle].min() < 200


def test_the_lowest_seed_is_shown(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    high, low = (matrices(0, noise, teacher=True) for noise in (3.0, 0.1))
    save(tmp_path / "both" / "a", make("sp", seed=11), **high)
    save(tmp_path / "both" / "b", make("sp", seed=2), **low)
    save(tmp_path / "low", make("sp", seed=2), **low)
    save(tmp_path / "high", make("sp", seed=11), **high)
    assert shown(tmp_path / "both") == shown(tmp_path / "low") != shown(tmp_path / "high")


def test_without_a_teacher(tmp_path: Path, make: Make, save: Save, matrices: Matrices) -> None:
    save(tmp_path, make("none"), **matrices(0, 0.3, teacher=False))
    found = shown(tmp_path)
    assert found is not None
    assert [len(pictures) for _, pictures in found.networks] == [1]
    assert len(found.scales) == 1


def test_other_images_are_not_compared(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    held = matrices(0, 0.3, teacher=True)
    save(tmp_path / "a", make("kd"), **held)
    save(tmp_path / "b", make("sp"), **{**held, "indices": held["indices"] + 1})
    found = shown(tmp_path)
    assert found is not None
    assert [title for title, _ in found.networks] == ["teacher", "kd"]
    assert found.notes == ("sp: its matrix is of other images, and is left out.",)


def test_another_teacher_is_said(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices
) -> None:
    held = matrices(0, 0.3, teacher=True)
    save(tmp_path / "a", make("kd"), **held)
    save(tmp_path / "b", make("sp"), **{**held, "teacher": held["student"]})
    found = shown(tmp_path)
    assert found is not None
    assert "sp had another teacher" in found.notes[0]
    assert "mean |Δ| 0.000" in dict(found.networks)["sp"][1].caption


def test_nothing_to_show(tmp_path: Path, make: Make, save: Save) -> None:
    save(tmp_path, make("sp"))
    assert shown(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 100])
def test_a_damaged_file_is_said(
    tmp_path: Path, make: Make, save: Save, matrices: Matrices, content: bytes
) -> None:
    save(tmp_path / "a", make("kd"), **matrices(0, 0.3, teacher=True))
    save(tmp_path / "b", make("sp"))
    (tmp_path / "b" / NAME).write_bytes(content)
    found = shown(tmp_path)
    assert found is not None
    assert found.notes == (f"sp: {NAME} could not be read.",)


@pytest.mark.parametrize(
    "changes",
    [
        {"student": np.zeros((3, 4), np.float32)},
        {"teacher": np.zeros((5, 5), np.float32)},
        {"student": np.full((4, 4), np.nan, np.float32)},
        {"indices": np.zeros((4, 4), np.int64)},
        {"indices": np.arange(3)},
    ],
)
def test_other_contents_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    fine: dict[str, Any] = {"student": np.eye(4, dtype=np.float32), "indices": np.arange(4)}
    save_file(fine, tmp_path / "fine")
    save_file({**fine, **changes}, tmp_path / "other")
    assert read(tmp_path / "fine") is not None
    assert read(tmp_path / "other") is None
