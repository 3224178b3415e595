"""Networks that no line of the project names, drawn from small variants: taps, a step, compiled."""

import os
import random
import time
from collections.abc import Iterator

import pytest
import torch

from relatum.discovery import find_taps
from relatum.distiller import Distiller
from relatum.losses import AT, SP
from relatum.models import create
from relatum.models.foreign import built_for
from relatum.objective import Objective, Term
from relatum.taps import Tapped
from relatum.teachers import Teacher
from relatum.types import Batch

SEED = int(os.environ.get("RELATUM_TEST_SEED", time.time_ns() % 10**6))
NUMBER = 10
SMALL = ("_tiny", "_nano", "_pico", "_atto", "_xxs", "_femto", "18", "_small", "_t0", "_0")
KINDS = ("swinv2", "deit", "vit_msn", "pvt", "convnextv2", "regnet", "focalnet", "mobilenet_v1")


def drawn() -> Iterator[str]:
    timm = pytest.importorskip("timm")
    from torchvision import models

    dice = random.Random(SEED)
    names = [each for each in timm.list_models() if any(word in each for word in SMALL)]
    names = [each for each in names if not any(word in each for word in ("3d", "sam", "naflex"))]
    yield from (f"timm/{each}" for each in dice.sample(names, NUMBER - 4))
    every = [each for each in models.list_models(module=models) if any(w in each for w in SMALL)]
    yield from (f"torchvision/{each}" for each in dice.sample(every, 2))
    yield from (f"hf/{each}" for each in dice.sample(KINDS, 2))


@pytest.mark.skipif("RELATUM_TEST_LONG" not in os.environ, reason="takes minutes")
def test_networks_that_were_drawn() -> None:
    print(f"drawn by RELATUM_TEST_SEED={SEED}")
    for name in drawn():
        print(name, flush=True)
        size = built_for(name) or 128
        torch.manual_seed(0)
        network = create(name, channels=3, size=size, classes=5)
        images = torch.rand(2, 3, size, size)
        taps = find_taps(network, images)
        assert {"embedding", "maps", "stages"} <= set(taps), name
        tapped = Tapped(network, taps).eval()
        with torch.no_grad():
            plain = tapped(images)
            compiled = torch.compile(tapped, backend="eager")(images)
        torch.testing.assert_close(dict(compiled.taps), dict(plain.taps))
        torch.testing.assert_close(compiled.output, plain.output)
        teacher = Teacher(network, taps)
        student = create(name, channels=3, size=size, classes=5)
        objective = Objective(sp=Term(SP(), on="maps"), at=Term(AT(), on="stages"))
        distiller = Distiller(Tapped(student, find_taps(student, images)), teacher, objective)
        torch.nn.init.normal_(next(distiller.student.parameters()))
        losses, _ = distiller(Batch(images, None, torch.arange(2)))
        losses.total.backward()  # type: ignore[no-untyped-call]
        assert losses.total.isfinite()
        torch._dynamo.reset()
