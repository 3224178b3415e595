from pathlib import Path

import pytest
import torch

from relatum.recipes.recipe import Recipe
from relatum.record import NAME, Record, Row, TeacherRecord, environment, find, read_rows
from relatum.types import Fault


def row(epoch: int = 1, **fields: object) -> Row:
    held = {"learning_rate": 0.05, "losses": {"ce": 1.5}, "steps": 4, "samples": 256}
    return Row.model_validate({"epoch": epoch, "seconds": 0.5, **held, **fields})


def record(label: str = "sp", **fields: object) -> Record:
    held: dict[str, object] = {
        "label": label,
        "recipe": Recipe(method="sp", teacher="runs/teacher", milestones=()),
        "environment": environment(torch.device("cpu")),
        "notes": ("so it is",),
        "idle": ("fc.weight",),
        "classes": ("a", "b"),
        "parameters": 10,
        "encoder_parameters": 8,
        "macs": 100,
        "samples": {"train": 256, "validation": 0, "test": 64},
        "rows": (row(1), row(2, steps=5)),
        "metrics": {"top1": 12.3456789012345678},
        "teacher": TeacherRecord(
            name="large", weights_sha256="ab" * 32, parameters=99, metrics={"top1": 99.0}
        ),
        "seconds": 1.0,
    }
    return Record.model_validate({**held, **fields})


def test_it_comes_back_to_the_bit(tmp_path: Path) -> None:
    before = record()
    before.save(tmp_path / "new" / "folder")
    assert Record.load(tmp_path / "new" / "folder") == before
    assert before.steps == 9


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"holds no finished run: record.json is missing"):
        Record.load(tmp_path)
    with pytest.raises(Fault, match="no finished run"):
        Record.load(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff\xff", b'{"format": 2}'])
def test_a_damaged_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(Fault, match="is damaged, or of another version") as caught:
        Record.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_all_in_a_folder_are_found_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b", "a/seed-1", "a/seed-0", ".search", "a/.old/run"):
        record(name).save(tmp_path / name)
    found = find(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path, _ in found] == [
        "a/seed-0",
        "a/seed-1",
        "b",
    ]
    assert [each.label for _, each in found] == ["a/seed-0", "a/seed-1", "b"]
    assert [path for path, _ in find(tmp_path / "b")] == [tmp_path / "b"]
    # a hidden folder above is the user's own affair
    assert len(find(tmp_path / ".search")) == 1


def test_a_folder_with_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(Fault, match="holds no finished run"):
            find(folder)


def test_rows_are_read_as_far_as_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    rows = [row(1), row(2), row(3)]
    lines = [each.model_dump_json() for each in rows]
    path.write_text("\n".join(lines) + "\n")
    assert read_rows(path) == rows
    path.write_text("\n".join(lines)[:-9])
    assert read_rows(path) == rows[:2]
    path.write_text("\n".join([lines[0], "{}", lines[2]]))
    assert read_rows(path) == rows[:1]


def test_numbers_that_are_not_finite_survive(tmp_path: Path) -> None:
    """A diagnostic may be infinite; the run is finished all the same."""
    spoilt = record(rows=(row(1, losses={"ce": 1.0, "lp.mean_weight": float("inf")}),))
    spoilt.save(tmp_path)
    assert Record.load(tmp_path).rows[0].losses["lp.mean_weight"] == float("inf")


def test_the_environment_names_what_changes_numbers() -> None:
    about = environment(torch.device("cpu"))
    assert about["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert about["threads"] == torch.get_num_threads()
    assert about["device"] == "cpu"
