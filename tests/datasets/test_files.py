import gzip
import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from relatum.datasets.files import fetch, unzip, verified
from relatum.types import Fault, first_line


def test_verified_gives_the_bytes_it_checked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert verified(path, hashlib.md5(b"content").hexdigest()) == b"content"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(b"other" * 99, mtime=0), "MD5 differs"),
        (gzip.compress(b"other" * 99, mtime=0)[:-9], "truncated gzip"),
        (gzip.compress(b"other" * 99, mtime=0)[:10] + b"\xff" * 30, "damaged gzip"),
        (gzip.compress(b"other", mtime=0)[:-8] + b"\0" * 8, "damaged gzip"),
        (b"<html>not found</html>", "not a gzip file"),
        (b"", "empty file"),
    ],
)
def test_what_is_wrong_with_a_zipped_file_is_said(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(data)
    with pytest.raises(Fault) as caught:
        verified(path, "0" * 32)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert str(caught.value).endswith("delete it and run again with --download")
    if says != "MD5 differs":
        with pytest.raises(Fault, match=says):
            unzip(path, data)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="cannot be read"):
        verified(tmp_path / "nothing", "0" * 32)


def test_first_line() -> None:
    assert first_line(RuntimeError("one\ntwo")) == "one"
    assert first_line(EOFError()) == "EOFError"


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), OSError("no route"), EOFError()])
def test_a_failed_download_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: Path, download: bool) -> Any:
        raise error

    stand_in = types.ModuleType("torchvision")
    stand_in.datasets = types.SimpleNamespace(MNIST=fail)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    with pytest.raises(Fault, match=r"downloading MNIST to .* failed") as caught:
        fetch("MNIST", tmp_path)
    assert "\n" not in str(caught.value)


def test_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(Fault, match="pip install torchvision"):
        fetch("MNIST", tmp_path)
