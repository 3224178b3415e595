"""A cluster through Ray: each task in a process of its own, wherever there is room for it.

The folder of the benchmark, and that of the images, must lie on storage that every node sees
under the same path: nothing but names and numbers goes over the wire. relatum is installed on
every node. When the driver dies, Ray ends its tasks; started again, it goes on with what they
saved.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from typing import Any

import torch

from relatum.bench.pool import About, Died, Message, Note, Result, Steps, Task
from relatum.checkpoint import Stop
from relatum.types import Fault, first_line

SLACK = 2
"""Tasks that wait at the cluster's door, so that one that can grow sees that it should."""
TOLD = (
    *("RELATUM_DATA", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
    *("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_BASE_URL"),
)
"""Variables of the driver's environment that its tasks shall know."""
REFRESH = 10.0
"""Seconds for which the size of the cluster is taken to stay the same."""


class Cluster:
    """A pool on a Ray cluster.

    Args:
        address: of the cluster; ``"auto"`` for the one that this machine belongs to, ``"local"``
            for one of this machine alone, made for the occasion.
        device: ``"cuda"`` gives every task a GPU, ``"cpu"`` a processor, ``"auto"`` a GPU where
            the cluster has any.
        share: tasks at once on each GPU, or on each processor.

    Raises:
        Fault: Ray is not installed, or there is no cluster at this address.
    """

    def __init__(self, address: str, device: str, share: int = 1) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise Fault(f"with --ray, --device is auto, cpu or cuda, got {device!r}")
        if share < 1:
            raise Fault(f"--workers is at least 1, got {share}")
        self._ray = _connected(address)
        have = self._ray.cluster_resources()
        if device == "auto":
            device = "cuda" if have.get("GPU") else "cpu"
        self._unit = "GPU" if device == "cuda" else "CPU"
        if not have.get(self._unit):
            self.close()
            raise Fault(f"the cluster at {address!r} has no {self._unit}; choose another --device")
        self._device, self._share = device, share
        self._looked, self._size = -REFRESH, 0
        self._told = _queue_of(self._ray)
        self._tasks: dict[Any, str] = {}

    @property
    def room(self) -> int:
        """How many tasks fewer are under way than the cluster has room for."""
        if time.monotonic() - self._looked > REFRESH:
            self._looked = time.monotonic()
            units = self._ray.cluster_resources().get(self._unit, 0)
            self._size = int(units * self._share) + SLACK
        return max(0, self._size - len(self._tasks))

    def submit(self, key: str, task: Task) -> None:
        """Send a task off."""
        part = 1 / self._share
        needs = {"num_gpus": part, "num_cpus": 0} if self._unit == "GPU" else {"num_cpus": part}
        # A process for each task: what an error on a GPU spoils ends with it.
        remote = self._ray.remote(max_calls=1, max_retries=0, **needs)(serve)
        variables = {name: os.environ[name] for name in TOLD if name in os.environ}
        place = (self._device, os.getcwd(), variables)
        self._tasks[remote.remote(task, key, *place, self._told)] = key

    def wait(self, seconds: float) -> list[tuple[str, Message]]:
        """What tasks told, and what came of those that ended."""
        ended: list[Any] = []
        if self._tasks:
            ended, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)
        alive = set(self._tasks.values())
        told: list[tuple[str, Message]] = [each for each in self._heard() if each[0] in alive]
        for task in ended:
            told.append((self._tasks.pop(task), self._result(task)))
        return told

    def _heard(self) -> list[tuple[str, Message]]:
        count = self._told.qsize()
        return self._told.get_nowait_batch(count) if count else []

    def _result(self, task: Any) -> Message:
        try:
            result = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            raise _what(error) from None
        except self._ray.exceptions.RayError as error:
            outside = isinstance(error, self._ray.exceptions.NodeDiedError)  # e.g. preempted
            return Died(f"Ray: {type(error).__name__}: {first_line(error)}", outside)
        assert isinstance(result, Result)
        return result

    def stop(self) -> None:
        """Ask every task to save and end; those that have not begun never do."""
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def close(self) -> None:
        """Leave the cluster, which ends what is left."""
        self._ray.shutdown()


def serve(
    task: Task, key: str, device: str, here: str, variables: dict[str, str], told: Any
) -> Result:
    """What a process of the cluster does: one task, where the driver was started."""
    os.environ.update(variables)
    stop = Stop()

    def note(*_: object) -> None:
        stop.signum = signal.SIGTERM

    def tell(message: Steps | Note | About) -> None:
        with contextlib.suppress(Exception):  # nobody waits for it, so nobody misses it
            told.actor.put_nowait.remote((key, message))

    for each in (signal.SIGINT, signal.SIGTERM):  # the first is how Ray cancels a task
        signal.signal(each, note)
    try:
        os.chdir(here)
    except OSError as error:
        raise Fault(
            f"{here} is not to be seen from every node ({error.strerror}); start the benchmark in"
            " a folder on shared storage"
        ) from error
    return task(torch.device(device), stop, tell)


def _what(error: Any) -> Exception:
    """What a task raised, or why it could not begin."""
    if isinstance(error.cause, Fault):
        return error.cause
    if "No module named 'relatum'" in str(error):
        return Fault("a node of the cluster has no relatum; install the same one on every node")
    return RuntimeError(f"a task of the benchmark failed on the cluster:\n{error}")


def _connected(address: str) -> Any:
    """The module, connected."""
    try:
        import ray
        import ray.exceptions
        import ray.util.queue
    except ImportError as error:
        raise Fault("--ray needs Ray: pip install 'relatum[ray]'") from error
    _reach(address)
    if address == "local":  # Ray's own default makes tasks wait for everybody else's
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        raise Fault(f"no Ray cluster answers at {address!r}: {first_line(error)}") from error
    return ray


def _reach(address: str) -> None:
    """Knock where the cluster is said to be: Ray itself would do so for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise Fault(f"no Ray cluster answers at {address!r}: {first_line(error)}") from error


def _queue_of(ray: Any) -> Any:
    """Where tasks tell how far they are; it takes no processor away from them."""
    return ray.util.queue.Queue(actor_options={"num_cpus": 0})
