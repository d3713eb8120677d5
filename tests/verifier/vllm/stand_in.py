"""What stands in for vLLM's interpreter: a script that takes vLLM's command line and is the small server."""

import sys
from pathlib import Path

SCRIPT = """#!{python}
import os, subprocess, sys, threading
sys.path.insert(0, {root!r})
from tests.http_server import serving_on
from tests.verifier.vllm.small_server import Behaviour, handler_of

with open({seen!r}, "a") as seen:
    print(os.getpid(), *sys.argv[1:], file=seen)
{first}
behaviour = Behaviour(key=os.environ["VLLM_API_KEY"])
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # vLLM has one, too
with open({seen!r}, "a") as seen:
    print(engine.pid, "engine", file=seen)
with serving_on(handler_of(behaviour), int(sys.argv[sys.argv.index("--port") + 1])):
    threading.Event().wait()
"""


def stand_in(folder: Path, first: str = "") -> tuple[Path, Path]:
    """The script, and the file where each that is started writes its process and its arguments, and that of its engine.

    Args:
        first: Python that it runs before it serves.
    """
    script, seen = folder / "python", folder / "seen"
    root = str(Path(__file__).parents[3])
    script.write_text(SCRIPT.format(python=sys.executable, root=root, seen=str(seen), first=first), encoding="utf-8")
    script.chmod(0o755)
    return script, seen
