"""Every format: read again without relatum where that is what it is for, and compared."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relatum import models
from relatum.evaluate import reached
from relatum.export import FORMATS, Graph, Source, export, source_of
from relatum.export.card_text import limits
from relatum.export.manifest import Manifest
from relatum.record import Record
from relatum.run.lock import hold
from relatum.taps import Tap, Tapped
from relatum.types import Fault, Input
from relatum.weights import about_weights, load_weights

Runs = Callable[[str], Path]


def images(count: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))


def test_onnx_by_its_own_runtime(runs: Runs, tmp_path: Path) -> None:
    """Any number of images, in [0, 1]; what leaves is what the student itself says of them."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    source = source_of(str(runs("taught")))
    manifest = export(Graph(source, "float", "both"), ["onnx"], tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"student.onnx", "export.json"}
    session = runtime.InferenceSession(str(tmp_path / "student.onnx"))
    assert [each.name for each in session.get_outputs()] == ["logits", "embedding"]
    assert [each.shape for each in session.get_inputs()] == [["batch", 1, 8, 8]]
    about = session.get_modelmeta().custom_metadata_map
    assert about["mean"] == "0.3055"
    assert about["input"] == "float"
    assert list(FORMATS["onnx"].of(tmp_path / "student.onnx")) == [manifest.weights_sha256]
    for count in (1, 5):
        seen = images(count, (1, 8, 8))
        with torch.no_grad():
            said = source.tapped(seen)
        logits, embedding = session.run(None, {"images": seen.numpy()})
        assert torch.allclose(torch.from_numpy(logits), said.output, atol=1e-5)
        assert torch.allclose(torch.from_numpy(embedding), said.taps["embedding"], atol=1e-5)
    written = manifest.files["student.onnx"]
    assert (
        str(Path(models.__file__).parents[1]).encode()
        not in (tmp_path / "student.onnx").read_bytes()
    )
    assert written.opset == 18
    assert written.check.batches == (1, 7, 56)
    assert written.check.top1_agreement == 100
    assert Manifest.load(tmp_path) == manifest


def test_onnx_takes_bytes_of_any_size(runs: Runs, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    source = source_of(str(runs("taught")))
    export(Graph(source, "uint8", resized=True), ["onnx"], tmp_path, count=9)
    session = runtime.InferenceSession(str(tmp_path / "student.onnx"))
    assert [each.shape for each in session.get_inputs()] == [["batch", 1, "height", "width"]]
    seen = (images(3, (1, 21, 17)) * 255).byte()
    centre = seen[..., 2:19, :] / 255  # the largest square, as training takes it
    small = nn.functional.interpolate(centre, (8, 8), mode="bilinear", antialias=True)
    with torch.no_grad():
        said = source.tapped(small).output
    (logits,) = session.run(None, {"images": seen.numpy()})
    assert torch.allclose(torch.from_numpy(logits), said, atol=1e-5)


@pytest.mark.parametrize("name", ["taught", "adopted"])
def test_pt2_runs_without_the_code(runs: Runs, tmp_path: Path, name: str) -> None:
    source = source_of(str(runs(name)))
    export(Graph(source), ["pt2"], tmp_path, count=10)
    extra = {"relatum.json": ""}
    network = torch.export.load(tmp_path / "student.pt2", extra_files=extra).module()
    seen = images(3, (1, 8, 8))
    with torch.no_grad():
        assert torch.equal(network(seen), source.tapped.network(seen))
    place = str(Path(models.__file__).parents[1]).encode()
    with zipfile.ZipFile(tmp_path / "student.pt2") as held:
        assert not any(place in held.read(each) for each in held.namelist())
    assert json.loads(extra["relatum.json"])["model"] == source.name


def test_safetensors_are_the_weights_and_say_so(runs: Runs, tmp_path: Path) -> None:
    source = source_of(str(runs("adopted")))
    export(Graph(source), ["safetensors"], tmp_path, count=5)
    about = about_weights(tmp_path / "student.safetensors")
    sizes = {each: int(about[each]) for each in ("channels", "size", "classes")}
    network = models.create(about["model"], **sizes).eval()
    load_weights(network, tmp_path / "student.safetensors")
    seen = images(2, (1, 8, 8))
    assert torch.equal(network(seen), source.tapped.network(seen))


def test_a_folder_that_timm_loads(runs: Runs, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    source = source_of(str(runs("timm")))
    manifest = export(Graph(source), ["timm"], tmp_path, count=5)
    seen = images(2, (1, 8, 8))
    wanted = source.tapped.network(seen)
    network = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    assert torch.allclose(network(seen), wanted, atol=1e-6)
    assert network.pretrained_cfg["mean"] == (0.3055,) or network.pretrained_cfg["mean"] == [0.3055]
    weights = tmp_path / "timm" / "model.safetensors"
    bare = timm.create_model(
        "test_efficientnet", num_classes=10, in_chans=1, checkpoint_path=str(weights)
    )
    assert torch.equal(bare.eval()(seen), network(seen))
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    assert "license" not in config["pretrained_cfg"]
    assert list(FORMATS["timm"].of(tmp_path / "timm")) == [manifest.weights_sha256]
    size = sum(each.stat().st_size for each in (tmp_path / "timm").iterdir())
    assert manifest.files["timm"].bytes == size
    export(Graph(source), ["timm"], tmp_path, count=5)  # an earlier folder is replaced
    assert {each.name for each in tmp_path.iterdir()} == {"timm", "export.json"}


def test_what_was_never_taught_is_left_out(runs: Runs, tmp_path: Path) -> None:
    """Without labels the classifier is as it began: its noise is not shipped unless it is named."""
    source = source_of(str(runs("unlabelled")))
    assert set(source.untaught) == {"fc.weight", "fc.bias"}
    manifest = export(Graph(source), ["pt2"], tmp_path, count=5)
    assert manifest.files["student.pt2"].outputs == ("embedding",)
    with pytest.raises(Fault, match=r"never learnt.*use --output embedding"):
        Graph(source, output="logits")
    assert source_of(str(runs("taught"))).untaught == ()
    bare = export(Graph(source), ["safetensors"], tmp_path / "bare", count=5)
    assert bare.files["student.safetensors"].outputs == ("logits",)


def test_a_card_speaks_of_a_classifier_where_one_was_taught(runs: Runs) -> None:
    taught, unlabelled = (limits(Record.load(runs(each))) for each in ("taught", "unlabelled"))
    assert "names one of its own" in taught
    assert "names one of its own" not in unlabelled


def test_an_embedding_that_was_never_taught(runs: Runs, tmp_path: Path) -> None:
    """As a method leaves it that reads a map, and the embedding is made of it by a layer more."""
    source = source_of(str(runs("unlabelled")))
    assert source.record is not None
    assert source.unlearnt == ()
    inside = next(iter(reached(source.tapped, source.shape)))
    record = source.record.model_copy(update={"idle": (*source.record.idle, inside)})
    source = replace(source, record=record)
    assert source.unlearnt == (inside,)
    with pytest.raises(Fault, match=r"never learnt.*METHOD\+rrkd or sp@embedding"):
        export(Graph(source), ["pt2"], tmp_path, count=5)
    with pytest.raises(Fault, match="to give its embedding"):
        Graph(source, output="embedding")
    assert list(tmp_path.iterdir()) == []
    export(Graph(source), ["safetensors"], tmp_path, count=5)  # the bare weights are what they are


def autoencoder() -> Source:
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 3), nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4))
    )
    taps = {"embedding": Tap("1")}
    return Source(Tapped(network, taps, Input(mean=(0.5,), std=(0.25,))), "own", (1, 4, 4))


def test_an_auto_encoder_gives_its_reconstruction(tmp_path: Path) -> None:
    source = autoencoder()
    manifest = export(Graph(source, "float", "both"), ["pt2"], tmp_path, count=8)
    written = manifest.files["student.pt2"]
    assert written.outputs == ("reconstruction", "embedding")
    assert written.check.compared_on == "8 images of noise"
    assert written.check.top1_agreement is None
    with pytest.raises(Fault, match="puts out a reconstruction and no logits"):
        Graph(source, output="logits")


def test_a_network_without_a_classifier_embeds(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    source = Source(Tapped(network, {"embedding": Tap("")}), "own", (1, 4, 4))
    for asked in ("auto", "embedding"):
        manifest = export(Graph(source, output=asked), ["pt2"], tmp_path, count=8)
        assert manifest.files["student.pt2"].outputs == ("embedding",)
    with pytest.raises(Fault, match="embedding alone"):
        Graph(source, output="both")


def test_one_batch_size_alone(tmp_path: Path) -> None:
    manifest = export(Graph(autoencoder(), batch=3), ["pt2"], tmp_path, count=8)
    written = manifest.files["student.pt2"]
    assert written.input_shape == (3, 1, 4, 4)
    assert written.check.batches == (3, 3)
    network = torch.export.load(tmp_path / "student.pt2").module()
    with pytest.raises(Exception, match="3"):
        network(torch.zeros(4, 1, 4, 4))


def test_a_file_that_says_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a faulty translation would: the earlier file stays, and nothing half made."""
    source = autoencoder()
    export(Graph(source), ["pt2"], tmp_path, count=8)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    real = FORMATS["pt2"]

    def off(graph: Graph, path: Path) -> Any:
        runs = real.opened(graph, path)
        return lambda images: tuple(1.001 * each for each in runs(images))

    monkeypatch.setitem(FORMATS, "pt2", replace(real, opened=off))
    with pytest.raises(Fault, match=r"differ from the student's by 0\.001.*not kept"):
        export(Graph(source), ["pt2"], tmp_path, count=8)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    source = autoencoder()
    with torch.no_grad():
        next(source.tapped.network.parameters()).fill_(float("nan"))
    with pytest.raises(Fault, match="not finite"):
        export(Graph(source), ["pt2"], tmp_path, count=8)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_file_stays(tmp_path: Path) -> None:
    (tmp_path / "student.pt2").write_text("mine")
    with pytest.raises(Fault, match="choose another --out"):
        export(Graph(autoencoder()), ["pt2"], tmp_path, count=8)
    assert (tmp_path / "student.pt2").read_text() == "mine"


def test_the_weights_themselves_stay(runs: Runs) -> None:
    """They say of themselves what an export leaves out, as where the images lie."""
    run = runs("taught")
    before = (run / "student.safetensors").read_bytes()
    with pytest.raises(Fault, match="is what is to be exported: choose another --out"):
        export(Graph(source_of(str(run))), ["safetensors"], run, count=8)
    assert (run / "student.safetensors").read_bytes() == before


def test_other_weights_begin_another_list(tmp_path: Path) -> None:
    """What was exported of a student that is no more is not told of as this one's, nor in its way:
    it stays until it is exported again."""
    weights, folder = tmp_path / "student.safetensors", tmp_path / "export"
    first = export(Graph(replace(autoencoder(), weights=weights)), ["pt2"], folder, count=8)
    again = replace(autoencoder(), weights=weights)
    manifest = export(Graph(again), ["safetensors"], folder, count=8)
    assert set(manifest.files) == {"student.safetensors"}
    assert manifest.earlier == {"student.pt2": first.files["student.pt2"].sha256}
    manifest = export(Graph(again), ["pt2"], folder, count=8)
    assert set(manifest.files) == {"student.pt2", "student.safetensors"}
    assert manifest.earlier == {}


def test_what_a_user_changed_stays(tmp_path: Path) -> None:
    """A file that was put in the place of an exported one, of these weights or of earlier ones."""
    weights, folder = tmp_path / "student.safetensors", tmp_path / "export"
    source = replace(autoencoder(), weights=weights)
    export(Graph(source), ["pt2"], folder, count=8)
    (folder / "student.pt2").write_text("quantized")
    for now in (source, replace(autoencoder(), weights=weights)):
        with pytest.raises(Fault, match=r"was changed since it was exported.*another --out"):
            export(Graph(now), ["pt2"], folder, count=8)
        export(Graph(now), ["safetensors"], folder, count=8)
    assert (folder / "student.pt2").read_text() == "quantized"


def test_a_list_that_is_lost_is_no_obstacle(tmp_path: Path) -> None:
    """Deleted because it was damaged: files that say they are of the same weights are replaced."""
    source, names = autoencoder(), ["safetensors", "pt2"]
    before = export(Graph(source), names, tmp_path, count=5)
    for file, told in before.files.items():
        assert told.sha256 == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    (tmp_path / "export.json").unlink()
    assert set(export(Graph(source), names, tmp_path, count=5).files) == set(before.files)
    (tmp_path / "export.json").unlink()
    with torch.no_grad():
        next(source.tapped.network.parameters()).add_(1)
    for each in names:
        with pytest.raises(Fault, match="is no export of this student"):
            export(Graph(source), [each], tmp_path, count=5)


def test_another_students_export_stays(tmp_path: Path) -> None:
    export(Graph(autoencoder()), ["safetensors"], tmp_path, count=8)
    before = (tmp_path / "student.safetensors").read_bytes()
    with pytest.raises(Fault, match=r"the export of another student \(own\); choose another --out"):
        export(Graph(autoencoder()), ["safetensors"], tmp_path, count=8)
    assert (tmp_path / "student.safetensors").read_bytes() == before


def test_what_a_killed_export_left_is_put_in_order(tmp_path: Path) -> None:
    """It was ended between the two moves by which a folder takes the place of another."""
    kept = tmp_path / ".export-12345678" / "before" / "timm"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    export(Graph(autoencoder()), ["safetensors"], tmp_path, count=8)
    assert {each.name for each in tmp_path.iterdir()} == {
        "export.json",
        "student.safetensors",
        "timm",
    }
    assert (tmp_path / "timm" / "config.json").read_text() == "{}"


def test_one_export_at_a_time(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(Fault, match="is being written by another process"):
        export(Graph(autoencoder()), ["safetensors"], tmp_path, count=8)


def test_an_earlier_folder_is_put_back(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    source = source_of(str(runs("timm")))
    export(Graph(source), ["timm"], tmp_path, count=5)
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target) == tmp_path / "timm" and self.parent.name != "before":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Fault, match="No space left"):
        export(Graph(source), ["timm"], tmp_path, count=5)
    assert {each.name for each in tmp_path.iterdir()} == {"timm", "export.json"}


def test_one_command_writes_every_format(runs: Runs, tmp_path: Path) -> None:
    """What only a graph can hold has no effect on the weights beside it."""
    graph = Graph(source_of(str(runs("taught"))), "uint8", resized=True)
    written = export(graph, ["safetensors", "pt2"], tmp_path, count=9).files
    assert written["student.safetensors"].input == "normalised"
    assert written["student.safetensors"].resized is None
    assert written["student.pt2"].input == "uint8"
    assert written["student.pt2"].resized is not None
    network = torch.export.load(tmp_path / "student.pt2").module()
    tall = (images(3, (1, 21, 17)) * 255).byte()
    said = network(tall)
    tall[..., :2, :], tall[..., 19:, :] = 0, 0  # outside the largest centred square
    assert torch.equal(network(tall), said)


def test_nothing_is_written_where_one_format_cannot_be(tmp_path: Path) -> None:
    for names, message in (
        (["pt2", "timm"], "networks of timm's"),
        (["safetensors", "jpeg"], "no format 'jpeg'"),
        ([], "no format was asked for: --to safetensors, onnx"),
    ):
        with pytest.raises(Fault, match=message):
            export(Graph(autoencoder()), names, tmp_path, count=8)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own writer would: from C++, where nothing catches it."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Fault, match=r"cannot write .*No space left on device"):
        export(Graph(autoencoder()), ["pt2"], tmp_path, count=8)


def test_a_full_disk_is_no_fault_of_a_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(Fault, match=r"^cannot write .*student\.onnx: No space left on device$"):
        export(Graph(autoencoder()), ["onnx"], tmp_path, count=8)


class Branches(nn.Module):
    """Its path hangs on a value, so it cannot be traced."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) if images.sum() > 1 else images.flatten(1) + 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"entering": "bytes"}, "--input is normalised, float, uint8, got 'bytes'"),
        ({"output": "top1"}, "--output is auto, logits, embedding, both"),
        ({"resized": True}, "add --input float or --input uint8"),
        ({"batch": 0}, "at least one image"),
    ],
)
def test_what_cannot_be_asked(how: dict[str, Any], message: str) -> None:
    with pytest.raises(Fault, match=message):
        Graph(autoencoder(), **how)


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    source = autoencoder()
    for name, graph, message in (
        ("timm", Graph(source), "networks of timm's, and this is own"),
        ("safetensors", Graph(source, "float"), "--input float has no effect"),
        ("safetensors", Graph(source, batch=2), "--batch has no effect"),
        ("jpeg", Graph(source), "no format 'jpeg'"),
        ("pt2", Graph(source, batch=9), "8 images are less than a batch of 9"),
        ("pt2", Graph(Source(Tapped(Branches(), {}), "own", (1, 4, 4))), "cannot be traced"),
    ):
        with pytest.raises(Fault, match=message):
            export(graph, [name], tmp_path, count=8)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_say_for_what_they_were_built(runs: Runs, tmp_path: Path) -> None:
    state = source_of(str(runs("taught"))).tapped.network.state_dict()
    torch.save(state, tmp_path / "bare.pth")
    text = f"digits-cnn-small@{tmp_path / 'bare.pth'}"
    with pytest.raises(Fault, match="name the set: --data SET"):
        source_of(text)
    source = source_of(text, "digits")
    assert source.shape == (1, 8, 8)
    assert source.tapped.input.mean == (0.3055,)
    with pytest.raises(Fault, match="no run and no file"):
        source_of(str(tmp_path / "nowhere"))


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from relatum.export import onnx_file

    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(Fault, match=r"pip install relatum\[onnx\]"):
        export(Graph(autoencoder()), ["onnx"], tmp_path, count=8)
