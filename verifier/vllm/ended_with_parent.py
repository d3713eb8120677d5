"""Run a command that ends with the process that started this one, however that ends.

    python ended_with_parent.py COMMAND...

Standard input is the parent's promise: at its end, which SIGKILL of the parent brings about, too, the command and all
that it started is ended. Needs nothing but Python. Exits with the command's own code.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

ORDERLY_SECONDS = 20.0
"""After which what does not end is killed."""


def main(command: list[str]) -> int:
    """Run the command; its exit code. What watches is no child of the parent: Ray kills the children of a worker."""
    watching = os.fork()
    if watching:
        return os.waitstatus_to_exitcode(os.waitpid(watching, 0)[1])
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # what it left running
    return code


def _end_with_input(child: "subprocess.Popen[bytes]") -> None:
    while os.read(sys.stdin.fileno(), 1):  # not the buffered file, whose lock a waiting thread holds at the end
        pass
    _signal(child, signal.SIGTERM)
    time.sleep(ORDERLY_SECONDS)
    _signal(child, signal.SIGKILL)


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to the command's whole session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
