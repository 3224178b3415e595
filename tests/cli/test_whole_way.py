"""From a folder of photographs to a student that ONNX Runtime runs, by the command alone."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.shell import call
from tests.processes import long

SIZE = 64
ALL = ("--set", f"image_size={SIZE}", "--set", f"student_size={SIZE}", "--epochs", 1, "--batch", 20)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with some photographs of every class, and the same ones without their classes."""
    named = os.environ.get("RELATUM_TEST_DATA")
    if not named or not (true := Path(named, "photos")).is_dir():
        pytest.skip("RELATUM_TEST_DATA names no folder with photos/")
    (tmp_path / "flat").mkdir()
    for part, count in (("train", 8), ("val", 4)):
        for photo in (each for kind in true.glob(f"{part}/*") for each in taken(kind, count)):
            to = tmp_path / "photos" / photo.relative_to(true)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, to)
            shutil.copy(photo, tmp_path / "flat" / f"{photo.parent.name}-{photo.name}")
    return tmp_path


def taken(folder: Path, count: int) -> list[Path]:
    return sorted(folder.iterdir())[:count]


def does(where: Path, *arguments: object) -> str:
    done = call(*arguments, cwd=where)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prepared(photo: Path, about: Mapping[str, str]) -> tuple[Any, torch.Tensor]:
    """A photograph as a file's own metadata ask for it, and normalised."""
    image = Image.open(photo).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    size, square = (int(about["width"]), int(about["height"])), (left, top, left + side, top + side)
    small = np.array(image.resize(size, Image.Resampling.BILINEAR, box=square))
    mean, std = (np.array(about[each].split(), np.float32) for each in ("mean", "std"))
    normal = ((small / np.float32(255) - mean) / std).transpose(2, 0, 1)[None]
    entering = small.transpose(2, 0, 1)[None] if about["input"] == "uint8" else normal
    return entering, torch.from_numpy(normal)


@long
@pytest.mark.parametrize(
    ("teacher", "student", "method"),
    [
        ("timm/resnet10t", "timm/lcnet_050", "rrkd"),
        ("timm/vit_tiny_patch16_224", "timm/mobilenetv3_small_050", "rrd"),
        ("timm/deit_tiny_patch16_224", "timm/test_vit", "rkd"),
    ],
    ids=["cnn-cnn", "vit-cnn", "vit-vit"],
)
def test_from_a_folder_to_a_file(photos: Path, teacher: str, student: str, method: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    timm = pytest.importorskip("timm")
    does(photos, "teach", "--data", "photos", "--model", teacher, *ALL, "--out", "teacher")
    learn = ("distill", "--teacher", "teacher", "--student", student, "--method", method)
    for data, enters, leaves in (
        ("flat", "normalised", "embedding"),
        ("photos", "uint8", "logits"),
    ):
        does(photos, *learn, "--data", data, "--seeds", 1, "--no-baseline", *ALL, "--out", data[0])
        run = photos / data[0] / method / "seed-0"
        does(photos, "export", run, "--to", "onnx,timm", "--input", enters, "--images", 9)
        assert "multiply-adds an image" in (run / "report.html").read_text()
        session = runtime.InferenceSession(str(run / "export" / "student.onnx"))
        assert [each.name for each in session.get_outputs()] == [leaves]
        folder, bare = (
            f"local-dir:{run}/export/timm",
            {} if leaves == "logits" else {"num_classes": 0},
        )
        network = timm.create_model(folder, pretrained=True, **bare).eval()
        about = session.get_modelmeta().custom_metadata_map
        for photo in taken(photos / "photos" / "val" / "hat", 4):
            entering, normal = prepared(photo, about)
            with torch.no_grad():
                wanted = network(normal).numpy()
            (found,) = session.run(None, {"images": entering})
            assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
