"""What is asked of torch around a capture, in which order: its parts are stood in for."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from relatum.replay import CudaGraph

DEVICE = torch.device("cuda", 0)


class Stream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self._log = name, log

    def wait_stream(self, other: "Stream") -> None:
        self._log.append(f"{self.name} waits for {other.name}")


class Generator:
    """One whose state is a number; it breaks in a capture, as a real one does."""

    def __init__(self, state: int = 5) -> None:
        self.state, self.stuck = state, False

    def clone_state(self) -> "Generator":
        return Generator(self.state)

    def graphsafe_set_state(self, other: "Generator") -> None:
        self.state, self.stuck = other.state, False


class Graph:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def register_generator_state(self, generator: Generator) -> None:
        self._log.append("generator")

    def replay(self) -> None:
        self._log.append("replay")


Parts = tuple[list[str], Generator]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    log: list[str] = []
    now = [Stream("main", log)]
    generator = Generator()

    @contextmanager
    def stream(wanted: Stream) -> Iterator[None]:
        before, now[0] = now[0], wanted
        try:
            yield
        finally:
            now[0] = before

    @contextmanager
    def device(wanted: torch.device) -> Iterator[None]:
        log.append(f"on {wanted}")
        yield

    @contextmanager
    def graph(made: Graph, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        log.append(f"capture on {now[0].name}, {capture_error_mode}, {gc.isenabled()}")
        generator.stuck = True
        try:
            yield
        except Exception as error:
            now[0] = stream  # as torch 2.11 leaves it
            raise RuntimeError("the capture ended badly") from error
        generator.stuck = False
        log.append("captured")

    stand_ins: dict[str, Any] = {
        "Stream": lambda device: Stream("aside", log),
        "CUDAGraph": lambda: Graph(log),
        "current_stream": lambda device: now[0],
        "default_generators": (generator,),
        "synchronize": lambda device: log.append("synchronize"),
        "current_device": lambda: 0,
        "stream": stream,
        "device": device,
        "graph": graph,
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return log, generator


CAPTURED = [
    "on cuda:0",
    "aside waits for main",
    "capture on aside, thread_local, False",
    "captured",
    "main waits for aside",
]


def test_a_capture_is_aside_and_free_of_collection(parts: Parts) -> None:
    log, _ = parts
    graph = CudaGraph(torch.device("cuda"))
    assert graph.record(lambda: "told") == "told"
    assert log == CAPTURED
    assert gc.isenabled()
    log.clear()
    graph.play()
    assert log == ["replay"]


def test_another_capture_frees_the_first(parts: Parts) -> None:
    log, _ = parts
    graph = CudaGraph(DEVICE)
    graph.record(lambda: None)
    log.clear()
    graph.record(lambda: None)
    assert log == ["synchronize", *CAPTURED]
    graph.forget()
    graph.forget()
    assert log[-1] == "synchronize"
    assert log.count("synchronize") == 2


def test_generators_of_ones_own_are_known_to_the_graph(parts: Parts) -> None:
    log, _ = parts
    own: Any = Generator()
    CudaGraph(DEVICE, [own]).record(lambda: None)
    assert log[0] == "generator"


def test_a_capture_that_fails_puts_everything_back(parts: Parts) -> None:
    _, generator = parts

    def broken() -> None:
        generator.state = 9
        raise ValueError("operation not permitted when stream is capturing")

    current: Callable[[torch.device], Any] = torch.cuda.current_stream
    graph = CudaGraph(DEVICE)
    with pytest.raises(ValueError, match="not permitted when stream is capturing"):
        graph.record(broken)
    assert (generator.state, generator.stuck) == (5, False)
    assert current(DEVICE).name == "main"
    assert gc.isenabled()


def test_steps_before_it_run_aside(parts: Parts) -> None:
    log, _ = parts
    with CudaGraph(DEVICE).aside():
        log.append(torch.cuda.current_stream(DEVICE).name)  # type: ignore[attr-defined]
    assert log == ["aside waits for main", "aside", "main waits for aside"]
