"""PgBouncer of the tests' own, before their PostgreSQL server."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from benchmarks.free_port import free_port

START_SECONDS = 30.0


@contextmanager
def pgbouncer(server: str, pool_mode: str) -> Iterator[str]:
    """URL of a PgBouncer in a pool mode, before a server, without a database name.

    Skips where PgBouncer is not installed, unless WEIGHTWARDEN_REQUIRE_POSTGRESQL is set.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        reason = "PgBouncer is not installed: apt-get install pgbouncer"
        if os.environ.get("WEIGHTWARDEN_REQUIRE_POSTGRESQL"):
            pytest.fail(reason)
        pytest.skip(reason)
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    switched = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    behind, port = make_url(server), free_port()
    folder = Path(tempfile.mkdtemp(prefix="weightwarden-pgbouncer-"))
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={behind.host} port={behind.port} user={behind.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {pool_mode}\nlogfile = {folder / 'log'}\n"
    )
    if os.getuid() == 0:
        for path in (folder, configuration):
            os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    process = subprocess.Popen([program, "-q", str(configuration)], cwd=folder, stderr=subprocess.DEVNULL, **switched)  # type: ignore[call-overload]
    try:
        _await_listening(port, process)
        yield f"postgresql://{behind.username}@127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise AssertionError("PgBouncer does not listen")
