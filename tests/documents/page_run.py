"""The commands of a page, typed one after another in a terminal."""

import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.free_port import free_port
from tests.documents.blocks import SHELL, Block, Command, blocks_of
from tests.documents.clone import environment

COMMAND_SECONDS = 300.0
START_SECONDS = 120.0
STOP_SECONDS = 90.0
_PORT = re.compile(r"\b(127\.0\.0\.1|localhost):(\d{4,5})\b")
_SENTINEL = "~~~ exit code"


@dataclass
class Ports:
    """Free ports for those that the pages name, so that two runs on one machine do not meet."""

    taken: dict[str, int] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        """The text with its ports replaced."""
        for _, port in _PORT.findall(text):
            if port not in self.taken:
                self.taken[port] = free_port()
        return _PORT.sub(lambda match: f"{match[1]}:{self.taken[match[2]]}", text)


class Terminal:
    """A shell in a folder. What is typed there, and what it prints, goes to the transcript."""

    def __init__(self, folder: Path, page: str) -> None:
        self._folder, self._page = folder, page
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: Command, exit_code: int = 0) -> None:
        """Run a command to its end.

        Raises:
            AssertionError: it exits with another code, or does not end in time.
        """
        print(f"[{self._page}:{command.line}]$ {command.text}")
        script = self._folder / ".typed"
        script.write_text(command.text + "\n")
        assert self._shell.stdin is not None
        self._shell.stdin.write(f'. ./.typed < /dev/null\nprintf "\\n{_SENTINEL} %d\\n" $?\n'.encode())
        self._shell.stdin.flush()
        output, code = self._until_done()
        script.unlink(missing_ok=True)
        print(output.rstrip())
        where = f"{self._page}:{command.line}: {command.text}"
        assert code is not None, f"{where}\nno end within {COMMAND_SECONDS:.0f} s, or the shell ended\n{output}"
        assert code == exit_code, f"{where}\nexit code {code}, not {exit_code}\n{output}"

    def _until_done(self) -> tuple[str, int | None]:
        assert self._shell.stdout is not None
        deadline, content = time.monotonic() + COMMAND_SECONDS, b""
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._shell.stdout], [], [], 1.0)
            if not ready:
                continue
            block = os.read(self._shell.stdout.fileno(), 65536)
            if not block:
                break
            content += block
            found = re.search(rf"\n{_SENTINEL} (\d+)\n\Z".encode(), content)
            if found:
                return content[: found.start()].decode("utf-8", "replace"), int(found[1])
        return content.decode("utf-8", "replace"), None

    def close(self) -> None:
        """End the shell, and what it left running."""
        with self._shell:  # closes its pipes
            _end_group(self._shell, signal.SIGKILL)


@contextmanager
def running_server(block: Block, folder: Path, page: str, ports: Ports) -> Iterator[None]:
    """A server of the page in a terminal of its own, from the moment at which it responds."""
    *before, last = [command.text for command in block.commands]
    text = ports("\n".join([*before, f"exec {last}"]))  # signals reach the server, not a shell around it
    assert block.ready_at is not None
    url = ports(block.ready_at)
    print(f"[{page}:{block.line}, another terminal]$ {text.rstrip()}")
    output = folder.parent / f"{folder.name}-line-{block.line}.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    where = f"{page}:{block.line}: the server"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _responds(url):
            assert process.poll() is None, f"{where} ended with {process.returncode}\n{output.read_text()}"
            assert time.monotonic() < deadline, f"{where} is not ready at {url}\n{output.read_text()}"
            time.sleep(0.1)
        yield
        assert process.poll() is None, f"{where} ended with {process.returncode}\n{output.read_text()}"
        code = _end_group(process, signal.SIGTERM)
        assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM), f"{where} stopped with {code}\n{output.read_text()}"
    finally:
        _end_group(process, signal.SIGKILL)
        print(f"[{page}:{block.line}, what the server printed]\n{output.read_text().rstrip()}")


def run_page(page: Path, folder: Path, ports: Ports) -> int:
    """Run all blocks of a page in a folder; the number of commands that ran.

    Raises:
        AssertionError: a command failed; the message names page and line.
    """
    ran = 0
    with ExitStack() as stack:
        terminal = Terminal(folder, page.name)
        stack.callback(terminal.close)
        for block in blocks_of(page):
            if block.not_run is not None:
                print(f"[{page.name}:{block.line}] not run here: {block.not_run}")
            elif block.language == "python":
                (folder / ".typed.py").write_text(block.content)
                terminal.type(Command(block.line, "python .typed.py"), block.exit_code)
                ran += 1
            elif block.language in SHELL and block.ready_at is not None:
                stack.enter_context(running_server(block, folder, page.name, ports))
                ran += len(block.commands)
            elif block.language in SHELL:
                for at, command in enumerate(commands := block.commands, 1):
                    expected = block.exit_code if at == len(commands) else 0
                    terminal.type(Command(command.line, ports(command.text)), expected)
                    ran += 1
    return ran


def _responds(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end_group(process: "subprocess.Popen[bytes]", number: int) -> int:
    """Send a signal to a process and its children, and wait; the exit code."""
    if process.poll() is None:
        os.killpg(process.pid, number)
    return process.wait(STOP_SECONDS)
