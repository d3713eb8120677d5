"""What stands in for vLLM's interpreter: a script that takes vLLM's command line and is the small server."""

import sys
from pathlib import Path

from tests.places import ROOT

SCRIPT = """#!{python}
import json, os, subprocess, sys, threading
sys.path.insert(0, {root!r})
from tests.http_server import serving_on_socket
from tests.verifier.replay.vllm.small_server import Behaviour, handler_of

with open({seen!r}, "a") as seen:
    print(os.getpid(), *sys.argv[1:], "in", json.dumps(dict(os.environ)), file=seen)
{first}
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # vLLM has one, too
with open({seen!r}, "a") as seen:
    print(engine.pid, "engine", file=seen)
with serving_on_socket(handler_of(Behaviour({behaviour})), sys.argv[sys.argv.index("--uds") + 1]):
    threading.Event().wait()
"""


def stand_in(folder: Path, first: str = "", behaviour: str = "") -> tuple[Path, Path]:
    """The script, and the file where each that is started writes its process, arguments and environment, and that of
    its engine.

    Args:
        first: Python that it runs before it serves. behaviour: arguments of `Behaviour`, in Python.
    """
    script, seen = folder / "python", folder / "seen"
    root = str(ROOT)
    script.write_text(
        SCRIPT.format(python=sys.executable, root=root, seen=str(seen), first=first, behaviour=behaviour),
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script, seen
