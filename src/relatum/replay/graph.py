"""What a step is recorded in: a CUDA graph, or whatever stands in for one."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

import torch

from relatum.profiling import region

R = TypeVar("R")


class Recording(Protocol):
    """Records what a function asks of the device, and asks it again."""

    def aside(self) -> AbstractContextManager[None]:
        """Where the function runs before it is recorded."""
        ...

    def record(self, function: Callable[[], R]) -> R:
        """Record what it asks, and do none of it. Tensors that it returns are filled by ``play``.

        A failure leaves all as it was before, and raises.
        """
        ...

    def play(self) -> None:
        """Do all of it, once, in the order in which the device is asked."""
        ...

    def forget(self) -> None:
        """Let go of it, and of its memory."""
        ...


class CudaGraph:
    """A CUDA graph: one launch for some thousand kernels.

    It reads and writes the memory that the function read and wrote when it was recorded, and
    keeps memory of its own for all that came into being in between. Random numbers go on from
    where the generator is whenever it is played, as they would without it.

    Args:
        device: where everything lies.
        generators: those that the function draws from, beside the device's own.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        index = torch.cuda.current_device() if device.index is None else device.index
        self._device = torch.device("cuda", index)
        self._generators = generators
        # One for both: libraries keep a workspace a stream, and autograd runs where forward did.
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the stream that records, in step with the one that is current."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, function: Callable[[], R]) -> R:
        """Capture it; nothing runs."""
        self.forget()
        graph = torch.cuda.CUDAGraph()
        for each in self._generators:
            graph.register_generator_state(each)
        own = torch.cuda.default_generators[self._device.index]
        drawn = [(each, each.clone_state()) for each in (own, *self._generators)]
        torch.clear_autocast_cache()  # a weight that was cast before is not cast again
        failed: list[Exception] = []
        try:
            # The stream twice: in torch 2.11 a capture that fails does not put it back.
            with _without_collection(), torch.cuda.device(self._device), self.aside():
                mode = "thread_local"  # other threads may do what they like meanwhile
                with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode):
                    found = _noted(function, failed)
        except Exception as error:
            for each, state in drawn:  # a generator would wait for a capture to end that never did
                each.graphsafe_set_state(state)
            raise (failed[0] if failed else error) from None  # the end of a bad capture fails too
        finally:
            failed.clear()  # else the error, its frames and their tensors would hold each other
            torch.clear_autocast_cache()
        self._graph = graph
        return found

    def play(self) -> None:
        """One launch, on the current stream."""
        assert self._graph is not None
        with region("replay"):
            self._graph.replay()

    def forget(self) -> None:
        """Free the graph, once the device is done with it."""
        if self._graph is not None:
            torch.cuda.synchronize(self._device)
            self._graph = None


def _noted(function: Callable[[], R], failed: list[Exception]) -> R:
    """Call it, and keep what it raises."""
    try:
        return function()
    except Exception as error:
        failed.append(error)
        raise


@contextmanager
def _without_collection() -> Iterator[None]:
    """No old graph may be freed during a capture, which that would break."""
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
