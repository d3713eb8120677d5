"""Reports of a tap for tests, with times and frames of the test's own, and what a server makes of them."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.egress.wire import SERVER, SIDECAR, Tcp, Wire, udp
from tests.verifier.egress.examples import accounted, honest, log_of
from tests.verifier.server.running import ORIGIN, Server
from weightwarden.verifier.egress.report import EgressReport
from weightwarden.verifier.server.alerting.incidents import acknowledge
from weightwarden.verifier.server.api.models import Status, TapStatus
from weightwarden.verifier.server.api.status import status_of
from weightwarden.verifier.server.database.schema import EGRESS_REPORT, INCIDENT

HOUR = 3600.0


@cache
def _account(datagrams: int) -> EgressReport:
    answers = log_of()
    answers.origin = ORIGIN

    def smuggles(wire: Wire, tcp: Tcp) -> None:
        for _ in range(datagrams):
            wire.put(udp(SERVER, SIDECAR, 53, b"weights"))

    wire = honest(smuggles)
    return accounted(wire.frames, answers)


def report(until: float, *, datagrams: int = 0, findings: tuple[str, ...] = (), **more: Any) -> EgressReport:
    """A report of the hour until a time, with so many unexplained datagrams."""
    found = _account(datagrams)
    verdict = "watch" if findings and not datagrams else found.verdict
    times = {"first_time": until - HOUR, "last_time": until}
    return found.model_copy(update={"verdict": verdict, "findings": list(findings), **times, **more})


def put(folder: Path, name: str, content: EgressReport | bytes) -> Path:
    """Put a report into a tap's folder, whole, as a copy job does."""
    folder.mkdir(exist_ok=True)
    data = content if isinstance(content, bytes) else content.model_dump_json(indent=2).encode()
    (folder / f".{name}").write_bytes(data)
    (folder / f".{name}").rename(folder / name)
    return folder / name


def touch_later(path: Path) -> None:
    """Give a file another time, so that it looks rewritten whatever its size."""
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))


def look(server: Server) -> None:
    server.opened.egress.look()
    server.opened.watch.look()


def status(server: Server) -> Status:
    with server.opened.database.reading() as connection:
        return status_of(server.opened, connection)


def the_tap(server: Server) -> TapStatus:
    [found] = status(server).egress.taps
    return found


def incidents(server: Server, kind: str) -> Sequence[Any]:
    with server.opened.database.reading() as connection:
        return connection.execute(select(INCIDENT).where(INCIDENT.c.kind == kind).order_by(INCIDENT.c.id)).all()


def lasting(server: Server) -> list[str]:
    """Kinds of the incidents whose cause holds."""
    with server.opened.database.reading() as connection:
        kinds = select(INCIDENT.c.kind).where(INCIDENT.c.ended.is_(None)).order_by(INCIDENT.c.id)
        return list(connection.execute(kinds).scalars())


def acknowledged(server: Server) -> None:
    """Acknowledge all incidents that nobody has."""
    with server.opened.database.writing() as connection:
        for number in connection.execute(select(INCIDENT.c.id).where(INCIDENT.c.acknowledged.is_(None))).scalars():
            acknowledge(connection, number, "an operator", "a name service was left on", server.clock())


def rows(server: Server) -> int:
    with server.opened.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(EGRESS_REPORT)).scalar_one())
