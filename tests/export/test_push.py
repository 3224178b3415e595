"""The model card and what goes to the hub, without the hub."""

import inspect
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from relatum.datasets.picture import picture
from relatum.evaluate import reached
from relatum.export import Graph, export, source_of
from relatum.export.card import OWNED, Licences, card, known_licence, write_card
from relatum.export.card_code import how_to_use
from relatum.export.graph import Entering
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
    assert source.record is not None
    bare = source.record.model_copy(update={"classes": ()})
    assert "labels not used" in card(replace(source, record=bare), None, Licences())
    text = card(source, None, Licences("mit", "cc-by-nc-4.0"))
    assert "labels used" in text
    assert "\n- agreement %: how often it puts the same class first as the teacher.\n" in text
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


def used(text: str, photo: Path) -> Iterator[dict[str, Any]]:
    """What each block of a card leaves behind, for a photograph where it says to put one's own."""
    for code in blocks(text):
        begin, found, _ = code.partition("Image.new(")
        line = code[len(begin) :].partition("\n")[0]
        own = line.partition("# yours: ")[2].replace("photo.jpg", str(photo))
        held: dict[str, Any] = {}
        exec(compile(code.replace(line, own) if found else code, "README.md", "exec"), held)
        yield held


@pytest.mark.parametrize(("entering", "to"), [("normalised", "onnx"), ("uint8", "pt2")])
def test_its_code_sees_a_photograph_as_training_did(
    runs: Runs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    entering: Entering,
    to: str,
) -> None:
    """From a file of another size to the class that the student itself gives it."""
    if to == "onnx":
        pytest.importorskip("onnxscript")
    source, photo = source_of(str(runs("taught"))), tmp_path / "photo.png"
    wave = 120 + 100 * np.sin(np.arange(60 * 43).reshape(60, 43) / 77)
    Image.fromarray(wave.astype(np.uint8)).save(photo)
    with torch.no_grad():
        wanted = source.tapped(picture(photo, 8)[None, :1] / 255).output
    manifest = export(Graph(source, entering), [to], tmp_path, count=5)
    monkeypatch.chdir(tmp_path)
    (held,) = used(how_to_use(source, manifest), photo)
    assert torch.allclose(torch.as_tensor(held["logits"]), wanted, atol=1e-5)
    assert capsys.readouterr().out.split() == [source.classes[wanted[0].argmax()]]


def test_its_code_takes_what_a_file_takes(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of any size, so many at a time."""
    source = source_of(str(runs("taught")))
    graph = Graph(source, "uint8", "both", resized=True, batch=3)
    manifest = export(graph, ["pt2"], tmp_path, count=5)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (31, 20), 90).save("photo.png")
    (held,) = used(how_to_use(source, manifest), Path("photo.png"))
    assert held["images"].shape == (3, 1, 20, 31)
    assert held["logits"].shape == (3, 10)
    blank = source.tapped.read(torch.zeros(3, 1, 8, 8)).taps["embedding"]
    assert isinstance(blank, torch.Tensor)
    assert held["embedding"].shape == blank.shape


@pytest.mark.parametrize("name", ["unlabelled", "timm, unlabelled"])
def test_its_code_reads_what_was_taught(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where nothing taught a classifier, every block ends in the embedding."""
    source = source_of(str(runs(name)))
    formats = ["safetensors", "pt2"]
    if name.startswith("timm"):
        pytest.importorskip("timm")
        formats = ["timm"]
    manifest = export(Graph(source), formats, tmp_path, count=5)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 90).save("photo.png")
    with torch.no_grad():
        wanted = source.tapped(torch.full((1, 1, 8, 8), 90 / 255)).taps["embedding"]
        blank = source.tapped.read(torch.zeros(2, 1, 8, 8)).taps["embedding"]
    assert isinstance(wanted, torch.Tensor)
    assert isinstance(blank, torch.Tensor)
    every = list(used(how_to_use(source, manifest), Path("photo.png")))
    assert len(every) == len(formats)
    for held in every:
        found = held["embedding"]
        assert torch.allclose(found, wanted if len(found) == 1 else blank, atol=1e-5)
        assert "logits" not in held


def test_where_nothing_was_taught_but_maps(runs: Runs) -> None:
    """As by SP without labels, where a layer that never learnt makes the embedding of the map."""
    source = source_of(str(runs("unlabelled")))
    assert source.record is not None
    inside = next(iter(reached(source.tapped, source.shape)))
    record = source.record.model_copy(update={"idle": (*source.record.idle, inside)})
    source = replace(source, record=record)
    text = card(source, None, Licences())
    assert "A network to train further: its feature maps were taught" in text
    assert hub.ModelCard(text).data.pipeline_tag is None
    assert "embedding =" not in text
    assert "A network that embeds images" not in text


def test_stale_exports_are_not_sent(runs: Runs, tmp_path: Path) -> None:
    export(Graph(source_of(str(runs("teacher")))), ["safetensors"], tmp_path / "export", count=5)
    source = source_of(str(runs("taught")))
    with pytest.raises(Fault, match="exported from other weights"):
        stage(source, tmp_path / "export", tmp_path / "staged", Licences())


def test_what_was_changed_is_not_sent(runs: Runs, tmp_path: Path) -> None:
    """What ``export.json`` says of a file was said of another."""
    source, folder = source_of(str(runs("taught"))), tmp_path / "export"
    export(Graph(source), ["safetensors"], folder, count=5)
    (folder / "student.safetensors").write_bytes(b"other")
    with pytest.raises(Fault, match="was changed since it was exported"):
        stage(source, folder, tmp_path / "staged", Licences())


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
