"""Networks that no line of the project names, drawn from small variants: taps, a step, compiled."""

import copy
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from relatum.discovery import find_taps
from relatum.distiller import Distiller
from relatum.inspection import inspect_model
from relatum.losses import KD, RRD, SP
from relatum.models import create
from relatum.models.foreign import built_for
from relatum.objective import Objective, Term
from relatum.taps import Tapped, shapes
from relatum.teachers import Teacher
from relatum.types import Batch, Fault, Images

SEED = int(os.environ.get("RELATUM_TEST_SEED", time.time_ns() % 10**6))
NUMBER, SIZE = 10, 128
REFUSED = 2
"""At most, each in one line: what needs another package, or is a part of other networks."""
KINDS = (
    *[
        "beit",
        "bit",
        "convnextv2",
        "data2vec-vision",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "focalnet",
    ],
    *["hiera", "ijepa", "levit", "mobilenet_v1", "mobilenet_v2", "poolformer", "pvt", "pvt_v2"],
    *["regnet", "resnet", "segformer", "swiftformer", "swin", "swinv2", "vit", "vit_msn"],
)
"""Of transformers, those that are small with few of their layers."""
SMALL = ("_tiny", "_nano", "_pico", "_atto", "_xxs", "_femto", "18", "_small", "_t0", "_0")


def drawn(folder: Path) -> Iterator[str]:
    timm = pytest.importorskip("timm")
    from torchvision import models

    dice = random.Random(SEED)
    names = [each for each in timm.list_models() if any(word in each for word in SMALL)]
    names = [each for each in names if not any(word in each for word in ("3d", "sam", "naflex"))]
    yield from (f"timm/{each}" for each in dice.sample(names, NUMBER - 4))
    every = [each for each in models.list_models(module=models) if any(w in each for w in SMALL)]
    yield from (f"torchvision/{each}" for each in dice.sample(every, 2))
    for kind in dice.sample(KINDS, 2):
        yield f"hf/{shallow(kind, folder / kind)}"


def shallow(kind: str, folder: Path) -> Path:
    """One of transformers' kinds with few of its layers."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind)
    config = getattr(config, "vision_config", config)
    if isinstance(getattr(config, "depths", None), list | tuple):
        config.depths = [min(depth, 2) for depth in config.depths]
    elif not getattr(config, "out_features", None):  # those name layers by their numbers
        config.num_hidden_layers = 4
    config.save_pretrained(folder)
    return folder


def made(name: str) -> tuple[nn.Module, Images]:
    """A network for few pixels if it can be, or for its own; and images."""
    for size in (SIZE, built_for(name) or 2 * SIZE):
        torch.manual_seed(0)
        images = torch.rand(2, 3, size, size)
        try:
            network = create(name, channels=3, size=size, classes=5)
            shapes(Tapped(network, {}), images)
        except (Fault, RuntimeError, AssertionError):  # its windows do not fit
            if size != SIZE:
                raise
            continue
        break
    return network, images


def look(name: str) -> None:
    """Inspect, tap, distil once and compile one network.

    Raises:
        Fault: it is refused.
    """
    network, images = made(name)
    taps = find_taps(network, images)
    assert {"embedding", "maps", "stages"} <= set(taps), name
    tapped = Tapped(network, taps).eval()
    with torch.no_grad():
        plain = tapped(images)
        compiled = torch.compile(tapped, backend="eager")(images)
    torch.testing.assert_close(dict(compiled.taps), dict(plain.taps))
    torch.testing.assert_close(compiled.output, plain.output)
    embedding = plain.read("embedding")
    assert isinstance(embedding, torch.Tensor)
    width = embedding.shape[1]
    objective = Objective(
        sp=Term(SP(), on="maps"),
        rrd=Term(RRD(student_dim=width, teacher_dim=width, queue_size=64), on="embedding"),
        kd=Term(KD(), on="output"),
    )
    student = copy.deepcopy(tapped.only(set()).network)
    distiller = Distiller(
        Tapped(student, find_taps(student, images)), Teacher(network, taps), objective
    )
    torch.nn.init.normal_(next(distiller.student.parameters()))
    losses, _ = distiller(Batch(images, None, torch.arange(2)))
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert losses.total.isfinite()
    assert "maps" in [row[0] for row in inspect_model(name, size=images.shape[3]).taps]
    torch._dynamo.reset()


@pytest.mark.skipif("RELATUM_TEST_LONG" not in os.environ, reason="takes minutes")
def test_networks_that_were_drawn(tmp_path: Path) -> None:
    print(f"drawn by RELATUM_TEST_SEED={SEED}")
    refused = []
    for name in drawn(tmp_path):
        print(name, flush=True)
        try:
            look(name)
        except Fault as fault:
            refused.append(str(fault))
    assert len(refused) <= REFUSED, refused
    assert not any("\n" in each for each in refused)
