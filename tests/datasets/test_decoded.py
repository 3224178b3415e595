import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from relatum.datasets import decoded
from relatum.datasets.decoded import fingerprint_of, remembered


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"something")
    return paths


class Decoder:
    """Gives another number every time it is asked."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> dict[str, Tensor]:
        self.runs += 1
        return {"images": torch.full((2, 3), self.runs, dtype=torch.uint8)}


def test_what_was_quick_is_not_kept(files: list[Path], home: Path) -> None:
    decode = Decoder()
    for _ in range(2):
        remembered("mine", files, decode)
    assert decode.runs == 2
    assert not (home / ".cache").exists()


def test_what_was_slow_is_kept(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    decode = Decoder()
    for _ in range(3):
        assert remembered("mine", files, decode)["images"].tolist() == [[1] * 3] * 2
    assert remembered("other", files, decode)["images"].tolist() == [[2] * 3] * 2


def test_other_files_are_decoded_anew(
    files: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    decode = Decoder()
    remembered("mine", files, decode)
    remembered("mine", files[:1], decode)
    assert decode.runs == 2
    os.utime(files[0], ns=(1, 1))
    remembered("mine", files[:1], decode)
    assert decode.runs == 3
    files[0].write_bytes(b"something else")
    os.utime(files[0], ns=(1, 1))
    assert remembered("mine", files[:1], decode)["images"][0, 0] == 4
    assert len(list((home / ".cache" / "relatum" / "decoded").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_memory_is_made_anew(
    files: list[Path], home: Path, damage: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    decode = Decoder()
    remembered("mine", files, decode)
    (kept,) = (home / ".cache" / "relatum" / "decoded").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] if damage is None else damage)
    assert remembered("mine", files, decode)["images"][0, 0] == 2
    assert remembered("mine", files, decode)["images"][0, 0] == 2


def test_a_home_that_cannot_be_written_does_no_harm(
    files: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "PATIENCE", -1.0)
    (home / ".cache").write_text("a file where a folder should be")
    decode = Decoder()
    assert remembered("mine", files, decode)["images"][0, 0] == 1
    assert remembered("mine", files, decode)["images"][0, 0] == 2


def test_a_name_that_no_file_can_have_is_as_one_that_is_missing(tmp_path: Path) -> None:
    assert fingerprint_of([tmp_path / "a\0b"]) != fingerprint_of([tmp_path / "ab"])
