"""Notices: signed as Standard Webhooks has it, sent until they are taken, and each change told once."""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.http_server import serving
from tests.verifier.server.running import Clock, Log, Server, honest, server_in, stolen
from weightwarden.logger.files.private import KeyFileError, write_private
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.server.alerting.delivery_queue import Notice
from weightwarden.verifier.server.alerting.notifier import Command, Notifier, Refused
from weightwarden.verifier.server.database.schema import DELIVERY
from weightwarden.verifier.server.errors import ServerSettingsError

SECRET = b"a secret of the webhook's, long enough"
STOLEN = [stolen(record) for record in honest(6)]


class Receiver:
    """What a webhook got, and what it answers next."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []


@contextmanager
def receiving() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Silent."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as url:
        yield url, receiver


def alarmed(folder: Path, replayer: TransformersReplayer, policy: Policy, **settings: Any) -> Server:
    """A server whose alarm was just raised."""
    server = server_in(folder, replayer, policy, Clock(), **settings)
    Log(folder / "archives").seal(STOLEN)
    server.settle()
    return server


def with_secret(folder: Path, url: str) -> dict[str, Any]:
    write_private(folder / "webhook.secret", SECRET + b"\n")
    return {"webhook": url, "webhook_secret": folder / "webhook.secret"}


def test_an_alarm_is_posted_once_and_its_signature_holds(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    with receiving() as (url, receiver):
        links = {"dashboard_url": "https://watch.example/ww/"}
        server = alarmed(tmp_path, replayer, bundled_policy, **with_secret(tmp_path, url), **links)
        assert server.opened.notifier.deliver()
        assert not server.opened.notifier.deliver()
    [(headers, body)] = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    said = json.loads(body)
    assert (said["type"], said["data"]["state"]) == ("incident.opened", "alarm")
    assert "audited records are flagged" in said["data"]["incident"]["what"]
    assert (said["data"]["title"], said["data"]["concern"]) == ("Evidence against the inference server", "evidence")
    assert said["data"]["links"] == {
        "shown": "https://watch.example/ww/#records?flagged=true",
        "runbook": "https://watch.example/ww/runbook#monitor",
        "acknowledge": "https://watch.example/ww/#incident-1",
    }
    assert said["data"]["steps"]
    assert SECRET.decode() not in server.said.getvalue() + repr(server.opened)


def test_a_notice_that_is_refused_is_sent_again_later_and_later(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    with receiving() as (url, receiver):
        receiver.answers = [500, 302, 429]
        server = alarmed(tmp_path, replayer, bundled_policy, **with_secret(tmp_path, url))
        waits = []
        while server.opened.notifier.deliver() and len(receiver.got) < 4:
            with server.opened.database.reading() as connection:
                due, error = connection.execute(select(DELIVERY.c.due, DELIVERY.c.error)).one()
            waits.append(due - server.clock.now)
            assert error.startswith("HTTP ")
            server.clock.now = due - 0.5
            assert not server.opened.notifier.deliver()  # not yet
            server.clock.now = due
    assert waits == [2, 4, 8]
    assert len(receiver.got) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_receiver_that_is_down_is_no_harm(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    server = alarmed(tmp_path, replayer, bundled_policy, **with_secret(tmp_path, "http://127.0.0.1:9/"))
    assert server.opened.notifier.deliver()
    assert server.events("notice refused")[0]["why"] == "ConnectError"


def test_the_end_of_an_incident_and_its_acknowledgement_are_told(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    with receiving() as (url, receiver):
        server = server_in(tmp_path, replayer, bundled_policy, **with_secret(tmp_path, url))
        server.opened.membership.beat(trouble="something")
        server.opened.watch.look()
        server.opened.membership.beat()
        server.opened.watch.look()
        assert [server.opened.notifier.deliver() for _ in range(3)] == [True, True, False]
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["incident.opened", "incident.ended"]


COMMAND = """
import json, sys
said = json.load(sys.stdin)
with open(sys.argv[1], "a") as log:
    log.write(said["data"]["incident"]["kind"] + "\\n")
sys.exit(int(sys.argv[2]))
"""


def test_a_command_gets_each_notice_on_its_standard_input(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    (tmp_path / "notify.py").write_text(COMMAND)
    arguments = (sys.executable, str(tmp_path / "notify.py"), str(tmp_path / "told"))
    server = alarmed(tmp_path, replayer, bundled_policy, command=(*arguments, "3"))
    assert server.opened.notifier.deliver()
    assert server.events("notice refused")[0]["why"] == "exit code 3"
    server.clock.now += 10
    notifier = server.opened.notifier
    again = Notifier(
        database=notifier.database,
        membership=notifier.membership,
        channels=[Command((*arguments, "0"))],
        clock=notifier.clock,
        events=notifier.events,
    )
    assert again.deliver()
    assert not again.deliver()
    assert (tmp_path / "told").read_text() == "monitor\nmonitor\n"


def test_a_command_that_is_not_there_is_said() -> None:
    with pytest.raises(Refused, match="No such file"):
        Command(("/nowhere/notify",)).send(Notice(1, "command", "{}", 0), 0.0)


def test_a_webhook_without_a_secret_or_with_a_short_one_is_refused(
    tmp_path: Path, replayer: TransformersReplayer, bundled_policy: Policy
) -> None:
    with pytest.raises(ServerSettingsError, match="secret"):
        server_in(tmp_path, replayer, bundled_policy, webhook="http://127.0.0.1/")
    write_private(tmp_path / "short", b"short")
    with pytest.raises(KeyFileError, match="at least 24 bytes"):
        server_in(tmp_path, replayer, bundled_policy, webhook="http://127.0.0.1/", webhook_secret=tmp_path / "short")
    write_private(tmp_path / "long", SECRET)
    with pytest.raises(ServerSettingsError, match="http"):
        server_in(tmp_path, replayer, bundled_policy, webhook="ftp://x/", webhook_secret=tmp_path / "long")
    with pytest.raises(ServerSettingsError, match="dashboard"):
        server_in(tmp_path, replayer, bundled_policy, dashboard_url="javascript:alert(1)")
