"""Fork server of the workers that compile grammars: a tokenizer is read once, and each worker begins with it.

    python -m weightwarden.logger.grammar.fork_server DESCRIPTOR FOLDER VOCABULARY EXTRA

The descriptor is a socket. EXTRA is the extra of the package that
llguidance belongs to. The first message is empty, or tells why the tokenizer cannot be used. Each byte
that comes with a socket is answered by a new worker on that socket, in place of the last one of that number, which is
killed; the answer tells how that one ended. At the end of the socket, workers and server end.
"""

import gc
import os
import signal
import socket
import sys
from pathlib import Path

from weightwarden.errors import WeightwardenError
from weightwarden.extras import MissingExtra, needs_extra
from weightwarden.logger.grammar.framing import send
from weightwarden.text import first_line


def main(descriptor: int, folder: Path, vocabulary: int, extra: str) -> None:
    """Serve until the end of the socket."""
    control = socket.socket(fileno=descriptor)
    try:
        with needs_extra(extra):
            from weightwarden.logger.grammar.compiler import GrammarCompiler
            from weightwarden.logger.grammar.worker import end_with_parent, serve
        compiler = GrammarCompiler(folder, vocabulary)
    except WeightwardenError as error:
        send(control, {"error": str(error), "missing": isinstance(error, MissingExtra)})
        return
    except Exception as error:  # llguidance raises nothing more specific
        send(control, {"error": f"{folder}: llguidance cannot use the tokenizer: {first_line(error)}"})
        return
    gc.freeze()
    send(control, {})
    workers: dict[bytes, int] = {}
    while True:
        number, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not number:
            break
        ended = _end(workers.get(number))
        server = os.getpid()
        workers[number] = os.fork()
        if not workers[number]:
            try:
                end_with_parent(server)
                control.close()
                serve(compiler, socket.socket(fileno=descriptors[0]))
            finally:
                os._exit(0)
        os.close(descriptors[0])
        send(control, {"ended": ended})
    for worker in workers.values():
        _end(worker)


def _end(worker: int | None) -> int | None:
    """The exit code of a worker, which is killed if it has not ended; None without a worker."""
    if worker is None:
        return None
    os.kill(worker, signal.SIGKILL)  # not reaped yet: the id is still its own
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
