"""Network namespaces of this process: anonymous, so they end with it, however it ends."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_NETWORK = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_OWN = "/proc/thread-self/ns/net"
_SECONDS = 20
"""Time limit of a program that is run in a namespace."""


def missing() -> str | None:
    """Reason why no namespaces with rules can be made here, as a sentence; None where they can."""
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    try:
        made = Namespace()
    except OSError as error:
        return f"network namespaces cannot be made here ({error.strerror}): it takes root, or CAP_SYS_ADMIN"
    try:
        made.run("nft", "add", "table", "netdev", "weightwarden_probe")
    except subprocess.CalledProcessError as error:
        return f"nft cannot be used here: {error.stderr.strip()}"
    finally:
        made.close()
    return None


def version_of_nft() -> str:
    """The version of `nft`, such as "1.0.6"."""
    done = subprocess.run(  # noqa: S603
        [shutil.which("nft") or "nft", "--version"], check=True, capture_output=True, text=True, timeout=_SECONDS
    )
    return done.stdout.split()[1].removeprefix("v")


class Namespace:
    """A network namespace without devices but its loopback. It exists until it is closed, with all that is in it."""

    def __init__(self) -> None:
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _checked(_LIBC.unshare(_NEW_NETWORK))
            self.descriptor = os.open(_OWN, os.O_RDONLY)
            _checked(_LIBC.setns(home, _NEW_NETWORK))
        finally:
            os.close(home)

    @property
    def path(self) -> str:
        """Path of the namespace, for `ip link ... netns PATH`."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread in the namespace; sockets that it opens stay there."""
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _checked(_LIBC.setns(self.descriptor, _NEW_NETWORK))
            try:
                yield
            finally:
                _checked(_LIBC.setns(home, _NEW_NETWORK))
        finally:
            os.close(home)

    def run(self, *command: str) -> str:
        """Standard output of a program that is run in the namespace.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        with self.entered():
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
        return done.stdout

    def set(self, name: str, value: int) -> None:
        """Set a setting of the kernel's network, such as `net/ipv4/ip_forward`, in this namespace alone."""
        with self.entered():
            Path("/proc/sys", name).write_text(str(value))

    def close(self) -> None:
        """Let it go; the kernel ends it once no socket of it is open."""
        os.close(self.descriptor)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
