"""Two hosts on one machine: network namespaces, joined by a link of a chosen bandwidth."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Host(NamedTuple):
    """A network namespace with one interface to the other host."""

    name: str
    address: str
    interface: str

    def command(self, *command: str) -> list[str]:
        """Return `command` as it runs on this host."""
        return ["ip", "netns", "exec", self.name, *command]


def missing() -> str | None:
    """Return in words why there cannot be two hosts here, or None."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "iproute2 is not installed (ip, tc)"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with two_hosts():
            return None
    except OSError as error:
        return f"network namespaces are not permitted here: {error}"


@contextmanager
def two_hosts(mbit: float | None = None, latency_buffer_ms: float = 50.0) -> Iterator[list[Host]]:
    """Make two hosts and the link between them, and take them down again.

    `mbit`: the bandwidth of the link in each direction, Mbit/s, by a token bucket; None leaves it
    as fast as memory.  `latency_buffer_ms`: how long a packet may queue before it is dropped.
    Raises `OSError` where it is not permitted.
    """
    tag = os.getpid()
    hosts = [
        Host(f"localgd-{tag}-{side}", f"10.199.7.{number}", f"lg{tag % 10**7}{side}")
        for number, side in ((1, "a"), (2, "b"))
    ]
    made: list[Host] = []
    try:
        for host in hosts:
            _do("ip", "netns", "add", host.name)
            made.append(host)
            _do(*host.command("ip", "link", "set", "lo", "up"))
        one, other = hosts
        ends = [one.interface, "netns", one.name, "type", "veth"]
        ends += ["peer", "name", other.interface, "netns", other.name]
        _do("ip", "link", "add", *ends)
        for host in hosts:
            where = ["dev", host.interface]
            _do(*host.command("ip", "address", "add", f"{host.address}/24", *where))
            _do(*host.command("ip", "link", "set", host.interface, "up"))
            if mbit is not None:
                # The bucket holds a millisecond's worth, and two packets at least.
                burst = max(3_000, int(mbit * 1e6 / 8 / 1000))
                rate = ["rate", f"{mbit}mbit", "burst", str(burst)]
                limit = ["latency", f"{latency_buffer_ms:g}ms"]
                _do(*host.command("tc", "qdisc", "add", *where, "root", "tbf", *rate, *limit))
        yield hosts
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
