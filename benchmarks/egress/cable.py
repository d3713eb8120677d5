"""A virtual cable between this process's network namespace and another one, and a tap on it (Linux, root).

The namespaces have no way out, and end with the processes in them.
"""

import array
import fcntl
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.egress.wire import GROUP, SERVER, SERVER_MAC, SIDECAR, SIDECAR_MAC
from benchmarks.ways_out.namespaces import Namespace
from weightwarden.verifier.egress.frames import Frame
from weightwarden.verifier.egress.link import HEARTBEAT

HERE, THERE = "tap-here", "tap-there"
"""Names of the cable's ends."""
_NO_IPV6 = "net/ipv6/conf/all/disable_ipv6"
_ALL_PROTOCOLS, _PACKET, _STATISTICS, _BUFFER = 3, 263, 6, 1 << 26
_SIOCETHTOOL, _SET_TX_CHECKSUMS = 0x8946, 0x17


@contextmanager
def cable(loss: int = 0) -> Iterator[list[str]]:
    """A cable from this namespace, where it has the sidecar's address; the words that run a program at its other end.

    Args:
        loss: one of so many packets is lost at each end on its way in and, at the other end, on its way out; 0: none.
            The tap lies before what is lost here, and after what is lost there.

    Raises:
        RuntimeError: this process is in a network namespace with other devices.
        CalledProcessError: a command of iproute2 failed.
    """
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        raise RuntimeError("run it in a network namespace of its own: unshare -n")
    other = Namespace()
    try:
        inside = ["nsenter", f"--net={other.path}"]
        Path("/proc/sys", _NO_IPV6).write_text("1")
        other.set(_NO_IPV6, 1)
        _run("ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", other.path)
        for words, name, mac, address in (([], HERE, SIDECAR_MAC, SIDECAR), (inside, THERE, SERVER_MAC, SERVER)):
            _run(*words, "ip", "link", "set", "lo", "up")
            _run(*words, "ip", "link", "set", name, "address", mac.hex(":"))
            _run(*words, "ip", "address", "add", f"{address}/24", "dev", name)
            _run(*words, sys.executable, "-m", "benchmarks.egress.cable", name)
            _run(*words, "ip", "link", "set", name, "up")
        _run("ip", "route", "add", GROUP, "dev", HERE)
        if loss:
            _run("nft", _lossy("input", HERE, loss))
            _run(*inside, "nft", _lossy("input", THERE, loss) + _lossy("output", THERE, loss))
        yield inside
    finally:
        other.close()


def _lossy(hook: str, device: str, loss: int) -> str:
    """Rules of nftables that drop one of so many TCP packets at a hook."""
    name = "iifname" if hook == "input" else "oifname"
    chain = f"add chain inet lossy {hook} {{ type filter hook {hook} priority 0; }}"
    rule = f"add rule inet lossy {hook} {name} {device} meta l4proto tcp numgen random mod {loss} 0 drop"
    return f"add table inet lossy; {chain}; {rule}; "


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  (the commands of this file)


def without_offload(device: str) -> None:
    """Have the kernel fill in the checksums of a device itself, so that a tap sees them."""
    wanted = array.array("I", [_SET_TX_CHECKSUMS, 0])
    request = struct.pack("16sP", device.encode(), wanted.buffer_info()[0]) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)


class Tap:
    """A tap on this end of the cable.

    Attributes:
        frames: the frames that it has seen.
        drops: frames that the kernel dropped because the tap was slow.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.drops = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((HERE, 0))
        self._socket.settimeout(0.2)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._capture, self._beat)]

    def __enter__(self) -> "Tap":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.drops = struct.unpack("II", self._socket.getsockopt(_PACKET, _STATISTICS, 8))[1]
        self._socket.close()

    def _capture(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 17)
            except TimeoutError:
                if self._ended.is_set():
                    return
                continue
            self.frames.append(Frame(time.time(), data, len(data), "link.pcapng", len(self.frames) + 1))

    def _beat(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._ended.wait(1.0):
                sender.sendto(HEARTBEAT, (GROUP, 9))


if __name__ == "__main__":
    without_offload(sys.argv[1])
