import gzip
import hashlib
import sys
import types
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from relatum.datasets.files import fetch, fetch_archive, unzip, verified
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


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The address of an archive and its MD5 sum."""
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "served"
    folder.mkdir()
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("set/file.txt", "content")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    sum_ = hashlib.md5((folder / "set.zip").read_bytes()).hexdigest()
    yield f"http://127.0.0.1:{server.server_port}/set.zip", sum_
    server.shutdown()
    server.server_close()


def test_an_archive_is_fetched_checked_and_unpacked(
    tmp_path: Path, served: tuple[str, str]
) -> None:
    pytest.importorskip("torchvision")
    fetch_archive("mine", served[0], tmp_path / "root", served[1])
    assert (tmp_path / "root" / "set" / "file.txt").read_text() == "content"


def test_an_archive_with_another_sum_is_not_unpacked(
    tmp_path: Path, served: tuple[str, str]
) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(Fault, match=r"downloading mine to .* failed") as caught:
        fetch_archive("mine", served[0], tmp_path / "root", "0" * 32)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "root" / "set").exists()
