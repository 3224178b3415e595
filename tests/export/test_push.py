"""The model card and what goes to the hub, without the hub."""

import inspect
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from relatum.export import Graph, export, source_of
from relatum.export.card import OWNED, Licences, card, known_licence, write_card
from relatum.export.job import about
from relatum.export.push import send, stage, token_of
from relatum.types import Fault

hub = pytest.importorskip("huggingface_hub")
Runs = Callable[[str], Path]


def blocks(text: str) -> list[str]:
    return [each.partition("```")[0] for each in text.split("```python\n")[1:]]


def test_the_card_is_what_the_hub_reads(runs: Runs) -> None:
    """Read by the hub's own library: licence, tags, and the result with its number of seeds."""
    source = source_of(str(runs("taught")))
    text = card(source, None, Licences("mit", "cc-by-nc-4.0"))
    read = hub.ModelCard(text)
    assert read.data.license == "mit"
    assert {"relatum", "knowledge-distillation", "rrkd"} <= set(read.data.tags)
    assert read.data.pipeline_tag == "image-classification"
    (result,) = read.data.eval_results
    assert source.record is not None
    assert result.metric_value == round(source.record.metrics["top1"], 2)
    assert result.dataset_split == "test"
    assert "licence of its weights: cc-by-nc-4.0" in read.content
    assert OWNED in read.content
    assert "Ramos et al., CORES 2023" in read.content
    assert "1,438 training images" in read.content
    assert "digits-cnn-large" in read.content


def test_the_card_claims_no_more_than_is_known(runs: Runs) -> None:
    source = source_of(str(runs("unlabelled")))
    text = card(source, None, Licences())
    read = hub.ModelCard(text)
    assert read.data.license is None
    assert read.data.eval_results is None
    assert read.data.pipeline_tag == "image-feature-extraction"
    assert "No licence was stated" in text
    assert "licence of its weights: not stated" in text
    assert "labels not used" in text
    assert str(Path.home()) not in text
    assert str(source.run) not in text
    assert str(runs("teacher")) not in text


def test_the_licence_of_published_weights_is_read() -> None:
    pytest.importorskip("timm")
    assert known_licence("timm/resnet18.a1_in1k:pretrained") == "apache-2.0"
    assert known_licence("timm/resnet18") is None
    assert known_licence("runs/teacher") is None


def test_what_is_staged(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, exports and card, whose code runs as it stands; and no place of this machine."""
    source = source_of(str(runs("taught")))
    exported, staged = tmp_path / "export", tmp_path / "staged"
    export(Graph(source, "float"), ["pt2"], exported, count=5)
    files = stage(source, exported, staged, Licences("mit"))
    assert set(files) == {"README.md", "export.json", "student.pt2", "student.safetensors"}
    monkeypatch.chdir(staged)
    codes = blocks((staged / "README.md").read_text())
    assert len(codes) == 2
    for code in codes:
        exec(compile(code, "README.md", "exec"), {})
    manifest = json.loads((staged / "export.json").read_text())
    assert set(manifest["files"]) == {"student.pt2", "student.safetensors"}
    for file in staged.iterdir():
        assert str(runs("teacher").parent.parent).encode() not in file.read_bytes(), file


def test_stale_exports_are_not_sent(runs: Runs, tmp_path: Path) -> None:
    export(Graph(source_of(str(runs("teacher")))), ["safetensors"], tmp_path / "export", count=5)
    source = source_of(str(runs("taught")))
    with pytest.raises(Fault, match="exported from other weights"):
        stage(source, tmp_path / "export", tmp_path / "staged", Licences())


@pytest.mark.parametrize("name", ["../../secret.txt", "secret.txt"])
def test_a_list_that_leads_elsewhere_is_not_sent(runs: Runs, tmp_path: Path, name: str) -> None:
    """``export.json`` comes with a run, which may be somebody else's."""
    source, folder = source_of(str(runs("taught"))), tmp_path / "run" / "export"
    export(Graph(source), ["safetensors"], folder, count=5)
    (folder / name).resolve().write_text("secret")
    listed = json.loads((folder / "export.json").read_text())
    listed["files"][name] = listed["files"]["student.safetensors"]
    (folder / "export.json").write_text(json.dumps(listed))
    with pytest.raises(Fault, match="no file that relatum export writes"):
        stage(source, folder, tmp_path / "a" / "b" / "staged", Licences())
    assert not [each for each in (tmp_path / "a").rglob("*") if each.is_file()]


def test_links_are_not_followed(runs: Runs, tmp_path: Path) -> None:
    source = source_of(str(runs("taught")))
    export(Graph(source), ["safetensors"], tmp_path / "export", count=5)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "export" / "student.safetensors").unlink()
    (tmp_path / "export" / "student.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(Fault, match="is a symbolic link"):
        stage(source, tmp_path / "export", tmp_path / "staged", Licences())


def test_a_card_replaces_a_card_alone(runs: Runs, tmp_path: Path) -> None:
    source = source_of(str(runs("taught")))
    write_card(source, tmp_path, Licences())
    write_card(source, tmp_path, Licences("mit"))
    assert "license: mit" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("# Mine\n\nlibrary_name: relatum\n")
    with pytest.raises(Fault, match="no card that relatum wrote"):
        write_card(source, tmp_path, Licences())
    assert (tmp_path / "README.md").read_text().startswith("# Mine")


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "get_token", lambda: None)
    with pytest.raises(Fault, match="set HF_TOKEN"):
        token_of()
    monkeypatch.undo()
    monkeypatch.setenv("HF_TOKEN", "hf_example")
    assert token_of() == "hf_example"


class Client:
    """What of the hub's client is used; the test below holds it to the real one."""

    said: list[tuple[str, dict[str, Any]]]

    def __init__(self, **options: Any) -> None:
        Client.said = [("HfApi", options)]

    def create_repo(self, repo_id: str, **options: Any) -> str:
        Client.said.append(("create_repo", {"repo_id": repo_id, **options}))
        return f"https://hub/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        Client.said.append(("upload_folder", options))


def test_sent_by_calls_that_the_client_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = hub.HfApi
    monkeypatch.setattr(hub, "HfApi", Client)
    (tmp_path / "README.md").write_text("card")
    assert (
        send(tmp_path, "me/student", "hf_x", private=True, update=False) == "https://hub/me/student"
    )
    assert [name for name, _ in Client.said] == ["HfApi", "create_repo", "upload_folder"]
    wanted = dict(Client.said)
    assert wanted["create_repo"]["private"] is True
    assert wanted["create_repo"]["exist_ok"] is False
    assert wanted["upload_folder"]["folder_path"] == tmp_path
    inspect.signature(real).bind(**wanted["HfApi"])
    for name in ("create_repo", "upload_folder"):
        inspect.signature(getattr(real, name)).bind(None, **wanted[name])


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A hub on this machine that answers every call with the first of these statuses."""
    statuses = [403]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.dumps({"error": "no", "url": "http://127.0.0.1/me/student"}).encode()
            self.send_response(statuses[0])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    real = hub.HfApi
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub, "HfApi", lambda **options: real(endpoint=endpoint, **options))
    yield statuses
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the hub does not know this token"),
        (403, "may not write to me/student"),
        (409, r"me/student exists on the hub: .*--update"),
        (400, "refused me/student"),
    ],
)
def test_what_the_hub_refuses(
    answers: list[int], tmp_path: Path, status: int, message: str
) -> None:
    answers[0] = status
    with pytest.raises(Fault, match=message):
        send(tmp_path, "me/student", "hf_x", private=False, update=False)


def test_no_hub_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere(Client):
        def create_repo(self, repo_id: str, **options: Any) -> str:
            raise ConnectionError("refused")

    monkeypatch.setattr(hub, "HfApi", Nowhere)
    with pytest.raises(Fault, match="cannot be reached"):
        send(tmp_path, "me/student", "hf_x", private=False, update=False)


def test_own_code_is_named_and_not_where_it_lies(runs: Runs) -> None:
    source = source_of(str(runs("taught")))
    record = source.record
    assert record is not None
    method, student = "/tmp/w w/loss.py:Mine@embedding", "/home/me/net.py:make"
    recipe = record.recipe.model_copy(update={"method": method, "student": student})
    teacher = record.teacher
    assert teacher is not None
    teacher = teacher.model_copy(update={"name": "/home/me/big.py:make"})
    update = {"recipe": recipe, "label": method, "teacher": teacher}
    source = replace(
        source, name=student, record=record.model_copy(update=update), run=Path("gone")
    )
    text = card(source, None, Licences())
    for place in ("/tmp", "/home", "w w"):
        assert place not in text
    for named in ("net.py:make on digits", "`loss.py:Mine@embedding`", "by big.py:make"):
        assert named in text
    assert about(Graph(source))["model"] == "net.py:make"
