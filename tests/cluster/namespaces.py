"""Two nodes on one machine: network namespaces, joined by a switch whose power can be cut."""

import contextlib
import functools
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ADDRESSES = ("10.77.0.1", "10.77.0.2")
INTERFACE = "node"
"""What each node calls its end of the link."""


@functools.cache
def obstacle() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if shutil.which("ip") is None:
        return "there is no iproute2"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with Nodes():
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.strip()}"


class Nodes(contextlib.AbstractContextManager["Nodes"]):
    """Two nodes and the switch between them; all of it is gone afterwards, whatever happened.

    To cut the link is to switch the bridge off: neither node sees its own end go down, and no
    packet comes back to say so, as when a switch far away fails.
    """

    def __init__(self) -> None:
        mark = secrets.token_hex(3)
        self._nodes = tuple(f"relatum-{mark}-{number}" for number in range(len(ADDRESSES)))
        self._switch = f"relatum-{mark}-switch"

    def __enter__(self) -> "Nodes":
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        for number, (node, address) in enumerate(zip(self._nodes, ADDRESSES, strict=True)):
            _ip("netns", "add", node)
            _ip(
                *("-n", self._switch, "link", "add", f"leg{number}", "type", "veth"),
                *("peer", "name", INTERFACE, "netns", node),
            )
            _ip("-n", self._switch, "link", "set", f"leg{number}", "master", "bridge", "up")
            _ip("-n", node, "address", "add", f"{address}/24", "dev", INTERFACE)
            for each in ("lo", INTERFACE):
                _ip("-n", node, "link", "set", each, "up")
        self.heal()

    def cut(self) -> None:
        """Let no packet through."""
        _ip("-n", self._switch, "link", "set", "bridge", "down")

    def heal(self) -> None:
        """Let them through again."""
        _ip("-n", self._switch, "link", "set", "bridge", "up")

    def start(
        self, node: int, command: Sequence[object], environment: Mapping[str, str], said: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command on a node; what it says goes to a file."""
        inside = ["ip", "netns", "exec", self._nodes[node], *map(str, command)]
        variables = {**os.environ, "GLOO_SOCKET_IFNAME": INTERFACE, **environment}
        with said.open("wb") as file:
            return subprocess.Popen(inside, env=variables, stdout=file, stderr=file)

    def processes(self, node: int) -> list[int]:
        """The ids of the processes that run on a node."""
        found = _ip("netns", "pids", self._nodes[node], check=False)
        return [int(each) for each in found.split()]

    def close(self) -> None:
        """End what still runs on the nodes, and remove them."""
        for number in range(len(self._nodes)):
            for process in self.processes(number):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        for name in (*self._nodes, self._switch):
            _ip("netns", "delete", name, check=False)


def _ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
    return done.stdout
