"""Steps in a CUDA graph are the steps of the usual loop on that device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relatum import schedules
from relatum.data import Batches, Crop, Flip
from relatum.distiller import Distiller
from relatum.fit import Epoch, fit
from relatum.losses import CRD, CTKD, RKD, SP, CrossEntropy, VkD
from relatum.objective import Objective, Term
from relatum.replay import CudaGraph, Replay
from relatum.replay.step import WARM
from tests import toys, training

SAMPLES, SIZE, FULL = 43, 5, 8


@pytest.fixture(autouse=True)
def device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


def moving() -> Distiller:
    torch.manual_seed(3)
    labels = toys.resident(SAMPLES).labels
    objective = Objective(
        ctkd=Term(CTKD(ramp=0.7)),
        ce=Term(CrossEntropy(), weight=schedules.cosine()),
        crd=Term(CRD(4, 6, SAMPLES, labels, dim=5, negatives=8, seed=1), on="embedding"),
        rkd=Term(RKD(triplets=20, seed=2), on="embedding"),
    )
    distiller = Distiller(toys.student(), toys.teacher(), objective)
    torch.manual_seed(7)
    return distiller


def batches() -> Batches:
    data = toys.resident(SAMPLES).to("cuda")
    return Batches(data, SIZE, shuffle=True, augment=(Crop(1), Flip()))


def trained(
    made: Callable[[], Distiller], replay: Replay | None, **named: Any
) -> tuple[dict[str, Tensor], list[Epoch]]:
    distiller = made().to("cuda")
    torch.manual_seed(11)
    optimizer = torch.optim.SGD(
        distiller.parameters(),
        lr=torch.tensor(0.05, device="cuda"),
        momentum=0.9,
        weight_decay=1e-3,
        fused=True,
    )
    rate = schedules.cosine(0.1)
    found = list(fit(distiller, batches(), optimizer, rate, 3, replay=replay, **named))
    return toys.state(distiller.learner), found


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("made", [training.made, moving])
def test_it_is_the_training_of_the_usual_loop(
    made: Callable[[], Distiller], precision: torch.dtype
) -> None:
    """Dropout, queues, banks, keys, weights and the learning rate move as they would."""
    replay = Replay()
    state, epochs = trained(made, replay, precision=precision)
    assert (replay.obstacle, replay.played) == (None, 3 * FULL - WARM)
    wanted_state, wanted = trained(made, None, precision=precision)
    # not to the bit: what adds by atomics differs from run to run
    torch.testing.assert_close(state, wanted_state, rtol=1e-3, atol=1e-4)
    for mine, its in zip(epochs, wanted, strict=True):
        assert dict(mine.losses) == pytest.approx(dict(its.losses), rel=1e-3, abs=1e-4)


def test_nothing_waits_between_played_steps() -> None:
    distiller = training.made().to("cuda")
    optimizer = torch.optim.SGD(
        distiller.parameters(), lr=torch.tensor(0.05, device="cuda"), momentum=0.9, fused=True
    )
    replay = Replay()

    class Watched:
        def __len__(self) -> int:
            return FULL + 1

        def epoch(self, number: int, start: int = 0) -> Any:
            raise AssertionError

        def drawn(self, number: int, start: int = 0) -> Any:
            for step, each in enumerate(batches().drawn(number, start)):
                mode = "error" if step > WARM else "default"
                torch.cuda.set_sync_debug_mode(mode)
                yield each
            torch.cuda.set_sync_debug_mode("default")

    try:
        list(fit(distiller, Watched(), optimizer, schedules.cosine(), 1, replay=replay))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert replay.played == FULL - WARM


class Reads(nn.Module):
    """Reads a value back, after dropout was drawn."""

    def forward(self, student: Tensor) -> Tensor:
        return student.square().mean() * (1 + float(student.detach().abs().max()))


def test_a_capture_that_fails_leaves_nothing_behind() -> None:
    """Dropout draws on, the current stream is the old one, and the next capture succeeds."""

    def made() -> Distiller:
        torch.manual_seed(3)
        terms = {"odd": Term(Reads()), "sp": Term(SP(), on="maps")}
        return Distiller(toys.student(), toys.teacher(), Objective(**terms))

    before, replay = torch.cuda.current_stream(), Replay()
    state, _ = trained(made, replay)
    assert "cannot be recorded" in str(replay.obstacle)
    assert replay.played == 0
    assert torch.cuda.current_stream() == before
    torch.testing.assert_close(state, trained(made, None)[0], rtol=1e-3, atol=1e-4)
    again = Replay()
    trained(training.made, again)
    assert again.obstacle is None


def test_a_projection_by_qr_is_captured_or_trained_as_ever() -> None:
    def made() -> Distiller:
        torch.manual_seed(3)
        vkd = Objective(vkd=Term(VkD(4, 6), on="embedding"))
        return Distiller(toys.student(), toys.teacher(), vkd)

    state, _ = trained(made, Replay())
    torch.testing.assert_close(state, trained(made, None)[0], rtol=1e-3, atol=1e-4)


def test_a_graph_draws_on_from_where_the_generator_is() -> None:
    """Two numbers and a third outside of it are those of three calls without a graph."""
    torch.manual_seed(1)
    wanted = [torch.rand(3, device="cuda") for _ in range(3)]
    torch.manual_seed(1)
    graph = CudaGraph(torch.device("cuda"))
    (found,) = graph.record(lambda: (torch.rand(3, device="cuda"),))
    for each in wanted[:2]:
        graph.play()
        assert torch.equal(found, each)
    assert torch.equal(torch.rand(3, device="cuda"), wanted[2])
