"""Watchdog of a command that ends with the process that started this one, however that process ends.

    python parent_watchdog.py FOLDER COMMAND...

Standard input is a pipe held by the parent. At its end, which SIGKILL of the parent causes too, the command and its
process group are ended, and FOLDER is removed (-: none). If the command ends by itself, FOLDER stays, since its log
tells why. SIGTERM acts like the end of input. Needs nothing but Python. Exits with the command's own code.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

ORDERLY_SECONDS = 20.0
"""Seconds after which a process that does not end is killed."""


def main(folder: str, command: list[str]) -> int:
    """Run the command, and return its exit code.

    The watching process is no child of the parent: Ray kills the children of a worker.
    """
    watching = os.fork()
    if watching:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(watching, signal.SIGTERM))
        return os.waitstatus_to_exitcode(os.waitpid(watching, 0)[1])
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    threading.Thread(target=_ask_at_end_of_input, args=(asked,), daemon=True).start()
    threading.Thread(target=_end_when_asked, args=(child, asked), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # processes that the command left running
    if asked.is_set() and folder != "-":
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _ask_at_end_of_input(asked: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):  # not the buffered file, whose lock a waiting thread holds at the end
        pass
    asked.set()


def _end_when_asked(child: "subprocess.Popen[bytes]", asked: threading.Event) -> None:
    asked.wait()
    _signal(child, signal.SIGTERM)
    time.sleep(ORDERLY_SECONDS)
    _signal(child, signal.SIGKILL)


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to the command's process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
