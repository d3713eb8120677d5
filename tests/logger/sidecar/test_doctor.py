"""The checks of a sidecar's settings: all clear when it would start, and a finding for each fault."""

import json
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from benchmarks.random_adapter import write_random_adapter
from tests.http_server import serving
from tests.logger.sidecar.running import settings_in
from tests.logger.sidecar.scripted_upstream import Answer, response, scripted_upstream, sends
from tests.logger.sidecar.trusted_server import raw_logits, scored, trusted
from weightwarden.logger.doctor.files import now_utc
from weightwarden.logger.doctor.finding import Finding, Status, has_faults
from weightwarden.logger.files.private import write_private
from weightwarden.logger.grammar.backend import GrammarBackend
from weightwarden.logger.record import Engine
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.doctor import examine
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import opened
from weightwarden.logger.sidecar.upstream.replica_url import replica_urls
from weightwarden.logger.tlog.keys import SigningKey

CARD = {"id": "upstream-model", "max_model_len": 8192}


@contextmanager
def upstream(
    models: Any = (CARD,), *, status: int = 200, version: str = "0.32.0", key: str | None = None
) -> Iterator[str]:
    """The URL of a server that responds as vLLM does to /v1/models and /version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = key is None or self.headers.get("authorization") == f"Bearer {key}"
            body = json.dumps({"version": version} if self.path == "/version" else {"data": models}).encode()
            self.send_response(status if allowed else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with serving(Handler) as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Iterator[Settings]:
    """Settings with which a sidecar starts."""
    with upstream() as url:
        yield settings_in(tmp_path, model_folder, url)


def found(settings: Settings, check: str, *, clock: datetime | None = None) -> list[Finding]:
    """The findings of one check."""
    findings = examine(settings, now_utc if clock is None else lambda: clock)
    return [finding for finding in findings if finding.check == check]


def the_fault(settings: Settings, check: str) -> Finding:
    [finding] = [one for one in found(settings, check) if one.status is Status.FAULT]
    assert finding.advice
    assert "\n" not in finding.found + finding.advice
    return finding


def test_settings_with_which_it_starts_have_no_fault_and_nothing_is_changed(settings: Settings, tmp_path: Path) -> None:
    settings = replace(settings, archives=str(tmp_path / "archives"), metrics=replace(settings.listen, port=0))
    before = sorted(path.name for path in tmp_path.iterdir())
    findings = examine(settings, now_utc)
    assert not has_faults(findings), findings
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with opened(settings):
        pass
    findings = examine(settings, now_utc)
    assert not has_faults(findings), findings
    assert {one.check for one in findings} >= {
        *("signing key", "seed key", "model", "template", "scheme", "upstream", "log", "SQLite", "mark", "archives"),
        *("disk", "clock", "clients' address", "metrics' address"),
    }
    for secret in (settings.seed_key, settings.signing_keys[0]):
        assert secret.read_bytes().strip().decode("latin-1") not in repr(findings)


def test_keys_that_are_missing_or_open_or_of_other_logs_are_faults(settings: Settings, tmp_path: Path) -> None:
    assert "sidecar key" in the_fault(replace(settings, seed_key=tmp_path / "no"), "seed key").advice
    assert "verify log key new" in the_fault(replace(settings, signing_keys=(tmp_path / "no",)), "signing key").advice
    SigningKey.generate("example.org/other").write(tmp_path / "other.key")
    both = (*settings.signing_keys, tmp_path / "other.key")
    assert "of several logs" in the_fault(replace(settings, signing_keys=both), "signing key").found
    assert the_fault(replace(settings, api_keys=tmp_path / "no"), "API keys")
    assert the_fault(replace(settings, upstream_key=tmp_path / "no"), "upstream key")
    settings.seed_key.chmod(0o644)
    assert "others than its owner" in the_fault(settings, "seed key").found


def test_a_seed_key_that_is_the_signing_key_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    same = replace(settings, seed_key=settings.signing_keys[0])
    assert "the same key" in the_fault(same, "seed key").found
    shutil.copy(settings.signing_keys[0], tmp_path / "copy.key")
    assert "the same key" in the_fault(replace(settings, seed_key=tmp_path / "copy.key"), "seed key").found
    SigningKey.generate("example.org/other").write(tmp_path / "other.key")
    assert "is a signing key" in the_fault(replace(settings, seed_key=tmp_path / "other.key"), "seed key").found


def test_a_secret_of_two_purposes_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    write_private(tmp_path / "clients", b"key-of-a-client-0123456789\n")
    shared = replace(settings, api_keys=tmp_path / "clients", upstream_key=tmp_path / "clients")
    assert "--api-keys" in the_fault(shared, "secrets").found
    assert found(replace(shared, upstream_key=None), "secrets") == []


def test_one_tls_file_without_the_other_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    assert the_fault(replace(settings, tls_key=tmp_path / "tls.key"), "TLS")
    assert the_fault(replace(settings, tls_key=tmp_path / "tls.key", tls_certificate=tmp_path / "tls.pem"), "TLS")


@pytest.mark.parametrize("missing", ["tokenizer.json", "config.json"])
def test_a_model_folder_that_is_incomplete_is_a_fault(settings: Settings, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in settings.model_dir.iterdir():
        if path.suffix in (".json", ".jinja") and path.name != missing:
            shutil.copy(path, folder)
    assert missing in the_fault(replace(settings, model_dir=folder), "model").found


def test_a_template_that_is_missing_or_cannot_render_is_named(settings: Settings, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{{ raise_exception('no user may speak') }}")
    assert "no user may speak" in the_fault(replace(settings, chat_template=template), "template").found
    folder = tmp_path / "model"
    shutil.copytree(settings.model_dir, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.jinja"))
    assert found(replace(settings, model_dir=folder), "template")[0].status is Status.WARNING


@pytest.mark.parametrize(
    ("engine", "version", "sampler", "status"),
    [
        ("vllm", "0.32.1", "vllm-v2", Status.OK),
        ("vllm", "0.9.0", "vllm-v2", Status.FAULT),
        ("vllm", "0.32.0", "sglang", Status.FAULT),
        ("sglang", "0.5.23", "sglang-ranked", Status.OK),
        ("llama.cpp", "11549", "inverse-cdf", Status.OK),
        ("llama.cpp", "11549", "vllm-cpu", Status.FAULT),
        ("another", "1", "greedy", Status.OK),
        ("another", "1", "vllm-v2", Status.FAULT),
    ],
)
def test_a_scheme_fits_the_engine(settings: Settings, engine: str, version: str, sampler: str, status: Status) -> None:
    changed = replace(settings, engine=Engine(name=engine, version=version, sampler=sampler))
    assert [one.status for one in found(changed, "scheme")] == [status]
    if status is Status.FAULT:
        assert "--unlisted-engine" in the_fault(changed, "scheme").advice
        with (
            pytest.raises(SettingsError, match=r"sampler: scheme .* was compared with .* verify probe"),
            opened(changed),
        ):
            pass
        accepted = replace(changed, unlisted_engine=True)
        assert [one.status for one in found(accepted, "scheme")] == [Status.WARNING]
        with opened(accepted):
            pass
        greedy = replace(changed, speculative_decoding=True)
        assert [one.status for one in found(greedy, "scheme")] == [Status.OK]
        with opened(greedy):
            pass


def test_the_digest_of_the_engine_profile_is_said(settings: Settings) -> None:
    digest = f"sha256:{'a' * 64}"
    assert "no engine profile" in found(settings, "scheme")[0].found
    engine = settings.engine.model_copy(update={"profile": digest})
    assert digest in found(replace(settings, engine=engine), "scheme")[0].found


def test_grammars_are_compiled_and_the_servers_options_are_said(settings: Settings, tmp_path: Path) -> None:
    [without] = found(settings, "grammars")
    assert without.status is Status.OK
    assert "refused" in without.found
    pinned = replace(settings, grammar_backend=GrammarBackend("1.7.6"))
    [said] = found(pinned, "grammars")
    assert said.status is Status.OK
    assert '--structured-outputs-config \'{"backend": "guidance"}\'' in said.found
    assert "without --reasoning-parser" in said.found
    [other] = found(replace(settings, grammar_backend=GrammarBackend("9.0")), "grammars")
    assert other.status is Status.WARNING
    sglang = Engine(name="sglang", version="0.5.23", sampler="sglang")
    assert the_fault(replace(pinned, engine=sglang), "grammars")
    assert the_fault(replace(pinned, model_dir=tmp_path), "grammars")
    with pytest.raises(SettingsError, match="vLLM only"), opened(replace(pinned, engine=sglang)):
        pass


def test_it_says_who_shares_cached_prompts_at_the_server(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("0123456789abcdef\n", encoding="ascii")
    tenants = replace(settings, api_keys=keys)
    sglang = Engine(name="sglang", version="0.5.23", sampler="sglang")
    for changed, status, words in (
        (settings, Status.OK, "all clients share"),
        (tenants, Status.OK, "each API key has its own"),
        (replace(tenants, cache_salt="off"), Status.WARNING, "all API keys share"),
        (replace(tenants, engine=sglang), Status.WARNING, "all API keys share"),
    ):
        [said] = found(changed, "prefix cache")
        assert (said.status, words in said.found) == (status, True)


def test_an_upstream_server_that_cannot_serve_is_a_fault(settings: Settings) -> None:
    assert "refused" in the_fault(replace(settings, upstreams=replica_urls(["http://127.0.0.1:9"])), "upstream").found
    assert "not http" in the_fault(replace(settings, upstreams=replica_urls(["ftp://127.0.0.1"])), "upstream").found
    faults: list[tuple[dict[str, Any], str, str]] = [
        ({"models": [{"id": "served"}]}, "serves served", "--upstream-model served"),
        ({"models": [{"id": "a"}, {"id": "b"}]}, "serves a, b", "one of them"),
        ({"models": []}, "no model", "--upstream-model"),
        ({"models": [CARD | {"max_model_len": 512}]}, "shorter", "--max-model-len 512"),
        ({"models": 7}, "no list of models", "--upstream"),
        ({"status": 500}, "status 500", "--upstream"),
        ({"key": "needed"}, "refuses the key", "--upstream-key"),
    ]
    for change, said, advice in faults:
        with upstream(**change) as url:
            fault = the_fault(replace(settings, upstreams=replica_urls([url])), "upstream")
            assert said in fault.found, fault
            assert advice in fault.advice, fault
    with upstream(version="0.33.0") as url:
        [other] = found(replace(settings, upstreams=replica_urls([url])), "upstream")
        assert (other.status, "0.33.0" in other.found) == (Status.WARNING, True)


def test_an_upstream_server_that_says_nothing_is_a_fault(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.logger.sidecar.doctor.ASK_SECONDS", 0.2)
    over = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            over.wait(30)

    with serving(Silent) as url:
        assert "no response" in the_fault(replace(settings, upstreams=replica_urls([url])), "upstream").found
        over.set()


def test_a_body_in_pieces_is_read_whole(settings: Settings) -> None:
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [CARD], "version": "0.32.0"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            for at in range(len(body)):
                self.wfile.write(body[at : at + 1])
                self.wfile.flush()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with serving(Slow) as url:
        assert [one.status for one in found(replace(settings, upstreams=replica_urls([url])), "upstream")] == [
            Status.OK
        ]


def test_a_server_that_is_reached_in_no_way_is_named_with_the_reason_and_without_a_password(settings: Settings) -> None:
    unknown = the_fault(
        replace(settings, upstreams=replica_urls(["http://user:hunter2@no.such.host.invalid/v1?key=hunter2"])),
        "upstream",
    )
    assert "its name has no address" in unknown.found
    assert "hunter2" not in repr(unknown)
    plain = the_fault(
        replace(settings, upstreams=replica_urls([settings.upstreams[0].url.replace("http:", "https:")])), "upstream"
    )
    assert "TLS" in plain.found


def test_clocks_are_compared_with_the_upstream_server_and_with_the_log(settings: Settings) -> None:
    with opened(settings):
        pass
    now = datetime.now(tz=UTC)
    assert [one.status for one in found(settings, "clock", clock=now)] == [Status.OK] * 2
    late, behind = found(settings, "clock", clock=now - timedelta(hours=1))
    assert {late.status, behind.status} == {Status.WARNING}
    assert "the log's last change" in late.found
    assert "Date header of the upstream" in behind.found


def test_a_log_that_is_older_than_its_mark_or_of_another_key_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    with opened(settings):
        pass
    old = tmp_path / "old.db"
    with sqlite3.connect(settings.log) as source, sqlite3.connect(old) as target:
        source.backup(target)
    source.close()
    target.close()
    with opened(settings):
        pass
    assert "older than its mark" in the_fault(replace(settings, log=str(old)), "mark").found
    SigningKey.generate("example.org/other").write(tmp_path / "other.key")
    other = replace(settings, signing_keys=(tmp_path / "other.key",))
    assert "and the key's is example.org/other" in the_fault(other, "mark").found
    assert "no such folder" in the_fault(replace(settings, mark=tmp_path / "no" / "mark"), "mark").found


def test_places_that_cannot_be_written_or_listened_on_are_faults(settings: Settings, tmp_path: Path) -> None:
    assert the_fault(replace(settings, archives=str(tmp_path / "no" / "archives")), "archives")
    assert the_fault(replace(settings, log=str(tmp_path / "no" / "log.db")), "log")
    elsewhere = Address(host="192.0.2.1", port=8080)
    assert the_fault(replace(settings, listen=elsewhere), "clients' address")
    assert the_fault(replace(settings, metrics=elsewhere), "metrics' address")
    everywhere = replace(settings, listen=Address(host="0.0.0.0", port=settings.listen.port))
    assert [one.status for one in found(everywhere, "exposure")] == [Status.WARNING] * 2


def _with_trusted(settings: Settings, url: str, **more: Any) -> Settings:
    return replace(settings, logprobs_url=url, logprobs_model="trusted-model", **more)


async def _small_vocabulary(body: dict[str, Any]) -> AsyncIterator[bytes]:
    """vLLM's answer where the model has 49,152 tokens."""
    yield scored(body) if max(body["prompt"]) < 49_152 else response("400 Bad Request")


async def _few(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield scored(body) if body["prompt_logprobs"] <= 5 else response("400 Bad Request")


async def _smaller(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield scored(body) if max(body["prompt"]) < 30_000 else response("400 Bad Request")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (_small_vocabulary, Status.OK, "gives log probabilities of trusted-model"),
        (trusted, Status.WARNING, "accepts token 49152, which the model does not have"),
        (_few, Status.FAULT, "--max-logprobs 20"),
        (raw_logits, Status.FAULT, "--logprobs-mode raw_logprobs"),
        (_smaller, Status.FAULT, "refuses token 49151"),
        (sends(response("404 Not Found")), Status.FAULT, "gives none (logprobs: refused)"),
    ],
)
def test_the_server_of_log_probabilities_is_asked(
    settings: Settings, answer: Answer, status: Status, words: str
) -> None:
    with scripted_upstream(answer) as server:
        server.models, server.max_model_len = ("trusted-model",), 8192
        [finding] = found(_with_trusted(settings, server.url), "logprobs")
    assert finding.status is status
    assert words in f"{finding.found} {finding.advice}"


def test_another_server_of_log_probabilities_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    with scripted_upstream(trusted) as server:
        trusting = _with_trusted(settings, server.url)
        assert "does not serve trusted-model" in the_fault(trusting, "logprobs").found
        server.models, server.max_model_len = ("trusted-model",), 4096
        assert "4096 tokens is shorter than the 8192" in the_fault(trusting, "logprobs").found
    with scripted_upstream(_small_vocabulary) as server:
        server.models = ("trusted-model",)
        law = tmp_path / "law"
        write_random_adapter(law, settings.model_dir, seed=1, rank=1, modules=("q_proj",))
        adapted = replace(_with_trusted(settings, server.url), adapters=(("law", law),))
        assert "does not serve adapter law" in the_fault(adapted, "logprobs").found
    assert "does not list its models" in the_fault(trusting, "logprobs").found
    assert "not http://" in the_fault(_with_trusted(settings, "ftp://a"), "logprobs").found
    missing = _with_trusted(settings, server.url, logprobs_key=tmp_path / "missing")
    assert the_fault(missing, "logprobs key")
