"""The checks of `sidecar doctor`: everything that a sidecar with these settings needs, without starting it."""

import asyncio
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from weightwarden.errors import WeightwardenError
from weightwarden.extras import MissingExtra
from weightwarden.logger.doctor.databases import database, holds_current_tables, local_file
from weightwarden.logger.doctor.files import (
    archive_folder,
    exists,
    free_space,
    present_user,
    secret_file,
    shared_secrets,
    tls_files,
    writable_folder,
)
from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.doctor.network import clock, clock_after, exposure, free_address, http_date, without_secrets
from weightwarden.logger.errors import ModelError
from weightwarden.logger.files.private import KeyFileError, read_private, read_secret
from weightwarden.logger.grammar.backend import COMPARED, PINNED
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.adapter_checks import check_adapters, check_served
from weightwarden.logger.sidecar.grammar_gate import GrammarGate
from weightwarden.logger.sidecar.log.seeds import read_seed_key
from weightwarden.logger.sidecar.logprobs_check import logprobs_findings
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.prompts.chat_template import TemplateRefusal
from weightwarden.logger.sidecar.same_answers import check_same_answers
from weightwarden.logger.sidecar.serving_parts import sends_cache_salts
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.startup import (
    is_web_url,
    secret_files,
    sends_grammars,
    unlisted_engine,
    warnings,
)
from weightwarden.logger.sidecar.upstream.replica_url import ReplicaUrl
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.mark import MarkFile, mark_path
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.tlog.keys import PublicKeys, SigningKey
from weightwarden.text import printable

ASK_SECONDS = 10.0
"""Seconds in which the inference server must respond."""
_MAX_BODY_BYTES = 1 << 20
_SHOWN_MODELS = 5
_CONVERSATION = ({"role": "user", "content": "Hello"},)


@dataclass(frozen=True)
class _Server:
    """The inference server's responses.

    Attributes:
        status: HTTP status of /v1/models, or None if the server cannot be reached.
        trouble: the reason, if it cannot be reached.
        models: context length by the name of each served model; the length is None where it is not stated.
        version: version in /version, or None.
        date: time in the Date header, or None.
    """

    status: int | None = None
    trouble: str = ""
    models: dict[str, int | None] | None = None
    version: str | None = None
    date: datetime | None = None


def examine(settings: Settings, now: Callable[[], datetime]) -> list[Finding]:
    """The findings for a sidecar with these settings, in the order of the start.

    Args:
        settings: the settings.
        now: this machine's clock, with a zone.
    """
    signers, findings = _signing_keys(settings)
    findings.insert(0, present_user())
    seed, seed_key = secret_file("seed key", settings.seed_key, read_seed_key, make=f"sidecar key {settings.seed_key}")
    findings.append(seed if seed_key is None else _distinct(seed, seed_key, settings))
    if settings.api_keys is not None:
        make = f"(umask 077; openssl rand -hex 32 > {settings.api_keys})"
        findings.append(secret_file("API keys", settings.api_keys, ApiKeys.read, make=make)[0])
    upstream_key = None
    if settings.upstream_key is not None:
        make = "ask the server's operator for its key"
        found, upstream_key = secret_file("upstream key", settings.upstream_key, read_secret, make=make)
        findings.append(found)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        findings.append(tls_files("TLS", settings.tls_certificate, settings.tls_key, now()))
    elif settings.tls_certificate is not None or settings.tls_key is not None:
        findings.append(fault("TLS", "needs a certificate and its key", "give --tls-certificate and --tls-key"))
    findings += shared_secrets(secret_files(settings))
    model, found_in_model = _model(settings)
    findings += found_in_model
    adapters, found_in_adapters = check_adapters(settings)
    findings += found_in_adapters
    findings.append(_scheme(settings))
    findings.append(_grammars(settings, model))
    findings.append(_prefix_cache(settings))
    servers = asyncio.run(_ask_all(settings, upstream_key))
    for upstream, server in zip(settings.upstreams, servers, strict=True):
        findings += _upstream(settings, upstream, server, model, adapters)
    if settings.logprobs_url is not None:
        findings += _logprobs(settings, settings.logprobs_url, model, adapters)
    if model is not None and len(servers) > 1 and all(settings.upstream_model in (one.models or ()) for one in servers):
        findings += check_same_answers(settings, model, upstream_key)
    findings += _log(settings, signers, now())
    for date in [server.date for server in servers if server.date is not None][:1]:
        findings.append(clock("clock", now(), date, "the Date header of the upstream server"))
    findings.append(free_address("clients' address", settings.listen, option="--listen"))
    if settings.metrics is not None:
        findings.append(free_address("metrics' address", settings.metrics, option="--metrics"))
    return [*findings, *exposure(warnings(settings))]


def _signing_keys(settings: Settings) -> tuple[list[SigningKey], list[Finding]]:
    """The signing keys that can be used, and the check of each."""
    findings: list[Finding] = []
    keys: list[SigningKey] = []
    for path in settings.signing_keys:
        make = f"verify log key new NAME --out {path}"
        found, key = secret_file("signing key", path, SigningKey.read, make=make)
        if key is not None:
            keys.append(key)
            found = ok("signing key", f"{found.found}, of the log {key.name}")
        findings.append(found)
    names = sorted({key.name for key in keys})
    if len(names) > 1:
        findings.append(fault("signing key", f"of several logs: {', '.join(names)}", "give keys of one log only"))
    return keys, findings


def _distinct(found: Finding, seed_key: bytes, settings: Settings) -> Finding:
    """The check that the seed key is not a signing key, which others than the sidecar may hold."""
    for path in settings.signing_keys:
        try:
            same = read_private(path) == seed_key
        except KeyFileError:
            continue
        if same:
            return fault("seed key", f"the same key as {path}", f"make another one: sidecar key NEW_FILE, not {path}")
    if seed_key.startswith(b"PRIVATE+KEY+"):
        return fault("seed key", f"{settings.seed_key}: is a signing key", "make another one: sidecar key NEW_FILE")
    return found


def _model(settings: Settings) -> tuple[ServedModel | None, list[Finding]]:
    """The model, if it can be used, and the checks of its folder."""
    folder = settings.model_dir
    try:
        model = ServedModel.load(
            folder,
            name=settings.model_name,
            context_length=settings.max_model_len,
            chat_template=settings.chat_template,
            neutral_defaults=settings.neutral_defaults,
            tool_parser=settings.tool_parser,
            reasoning_parser=settings.reasoning_parser,
        )
    except ModelError as error:
        advice = "copy tokenizer.json, tokenizer_config.json, config.json and generation_config.json of the model there"
        return None, [fault("model", str(error), advice)]
    findings = [
        ok("model", f"{folder}: {settings.model_name}, {model.vocabulary} tokens, context {model.context_length}")
    ]
    findings += [ok("model", guess) for guess in model.guesses]
    findings += [warning("model", notice, "complete the folder if clients need this") for notice in model.notices]
    if model.chat is None:
        return model, [
            *findings,
            warning("template", "none: chats are refused", "give --chat-template if clients chat"),
        ]
    try:
        text = model.chat.render(_CONVERSATION)
        count = len(model.tokenize(text, add_special_tokens=False))
    except (TemplateRefusal, ModelError) as error:
        return model, [*findings, fault("template", str(error), "correct the template, or give --chat-template")]
    return model, [*findings, ok("template", f"renders a conversation to {count} tokens")]


def _scheme(settings: Settings) -> Finding:
    """The check that the sampling scheme was compared with the engine in this version."""
    engine = settings.engine
    found = unlisted_engine(settings)
    if found is not None:
        say = warning if settings.unlisted_engine else fault
        return say("scheme", found, "correct --sampler and --engine-version, or give --unlisted-engine")
    profile = "no engine profile" if engine.profile is None else f"engine profile {engine.profile}"
    return ok("scheme", f"{engine.sampler} of {printable(engine.name)} {printable(engine.version)}, {profile}")


def _grammars(settings: Settings, model: ServedModel | None) -> Finding:
    """The check that grammars compile here, with what the server must be started with."""
    check, backend = "grammars", settings.grammar_backend
    if backend is None:
        return ok(check, "no --grammar-backend: structured output, and forced or strict tools, are refused")
    engine = printable(settings.engine.name)
    if not sends_grammars(settings.engine):
        return fault(check, f"{backend} with {engine}: grammars are sent to vLLM only", "leave --grammar-backend out")
    try:
        GrammarGate.open(backend, settings.model_dir, 1 if model is None else model.vocabulary).close()
    except (ModelError, MissingExtra) as error:
        return fault(check, str(error), "correct the installation or the folder, or leave --grammar-backend out")
    if backend.version not in COMPARED:
        found = f"{backend}: compared with {' and '.join(COMPARED)} only; others may allow other tokens"
        return warning(check, found, "verify run on a day's traffic shows tokens outside the grammar, if there are any")
    return ok(check, f"{backend}: start the server with {PINNED} and without --reasoning-parser")


def _prefix_cache(settings: Settings) -> Finding:
    """The check of who shares cached beginnings of prompts at the server."""
    check = "prefix cache"
    if settings.api_keys is None:
        return ok(check, "no --api-keys: all clients share the server's")
    if sends_cache_salts(settings):
        return ok(check, "each API key has its own at the server (--cache-salt off: they share it, and its timing)")
    found = "all API keys share the server's: the time to a first token shows one what another has asked"
    if settings.cache_salt == "off":
        return warning(check, found, "leave --cache-salt out, unless your clients trust each other")
    advice = f"turn prefix caching off at the server; cache salts are sent to vLLM only, not to {settings.engine.name}"
    return warning(check, found, advice)


async def _ask_all(settings: Settings, key: str | None) -> list[_Server]:
    """Ask every inference server for its models and its version, side by side."""
    return list(await asyncio.gather(*(_ask(one.url, key) for one in settings.upstreams)))


async def _ask(url: str, key: str | None) -> _Server:
    """Ask a server for its models and its version."""
    url = url.rstrip("/").removesuffix("/v1")
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=False) as http:
            async with http.get(f"{url}/v1/models", allow_redirects=False) as response:
                status, date = response.status, http_date(response.headers.get("date"))
                models = _served(await _content(response)) if status == 200 else None
            try:
                async with http.get(f"{url}/version", allow_redirects=False) as response:
                    version = _version(await _content(response)) if response.status == 200 else None
            except (aiohttp.ClientError, TimeoutError):
                version = None
    except TimeoutError:
        return _Server(trouble=f"no response in {ASK_SECONDS:.0f} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _Server(trouble=_trouble(error))
    return _Server(status=status, models=models, version=version, date=date)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """A response's body, or as much of it as is read at most."""
    content = b""
    while len(content) < _MAX_BODY_BYTES and (block := await response.content.readany()):
        content += block
    return content


def _trouble(error: Exception) -> str:
    """The reason why a server cannot be reached, in a few words."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name has no address"
    if isinstance(error, aiohttp.ClientSSLError):
        return "its TLS certificate is not trusted, or it speaks no TLS"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__


def _served(content: bytes) -> dict[str, int | None] | None:
    """Context length by name of the models in a response of /v1/models; None if it has another form."""
    try:
        cards = json.loads(content)["data"]
        lengths = {str(card["id"]): card.get("max_model_len") for card in cards}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {name: length if isinstance(length, int) else None for name, length in lengths.items()}


def _version(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _upstream(
    settings: Settings, upstream: ReplicaUrl, server: _Server, model: ServedModel | None, adapters: Collection[str]
) -> list[Finding]:
    """The checks of an inference server's responses."""
    check, url, name = "upstream", without_secrets(upstream.url), settings.upstream_model
    if len(settings.upstreams) > 1:
        check = f"upstream {upstream.name}"
    parts = urlsplit(upstream.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [fault(check, f"{url}: not http://... or https://...", "correct --upstream")]
    if server.status is None:
        return [fault(check, f"{url}: cannot be reached: {server.trouble}", "start the server, or correct --upstream")]
    if server.status in (401, 403):
        return [fault(check, f"{url}: refuses the key (status {server.status})", "give its key with --upstream-key")]
    if server.models is None:
        advice = "correct --upstream: it is the URL of a server with OpenAI's API"
        return [fault(check, f"{url}: /v1/models has status {server.status}, and no list of models", advice)]
    if name not in server.models:
        served = [printable(one) for one in server.models][:_SHOWN_MODELS]
        advice = f"--upstream-model {served[0]}" if len(served) == 1 else "give one of them as --upstream-model"
        return [fault(check, f"{url}: serves {', '.join(served) or 'no model'}, and not {printable(name)}", advice)]
    findings = []
    length = server.models[name]
    if model is not None and length is not None and length < model.context_length:
        found = f"{url}: its context of {length} tokens is shorter than the {model.context_length} of this sidecar"
        findings.append(fault(check, found, f"--max-model-len {length}"))
    if server.version is not None and server.version != settings.engine.version:
        found = f"{url}: states version {printable(server.version)}, and not {settings.engine.version}"
        findings.append(
            warning(check, found, "correct --engine-version or the profile: it is in every record, and in the policy")
        )
    findings += check_served(url, server.models, adapters)
    return findings or [ok(check, f"{url}: serves {printable(name)}")]


def _logprobs(settings: Settings, url: str, model: ServedModel | None, adapters: Collection[str]) -> list[Finding]:
    """The checks of the trusted server of log probabilities, and of its key."""
    if not is_web_url(url):
        shown = without_secrets(url)
        return [fault("logprobs", f"{shown}: not http://... or https://...", "correct --logprobs-url")]
    findings, key = [], None
    if settings.logprobs_key is not None:
        make = "ask the server's operator for its key"
        found, key = secret_file("logprobs key", settings.logprobs_key, read_secret, make=make)
        findings.append(found)
    server = asyncio.run(_ask(url, key))
    return [*findings, *logprobs_findings(settings, server.models, key, model, adapters)]


def _log(settings: Settings, signers: list[SigningKey], now: datetime) -> list[Finding]:
    """The checks of the log's database, its mark, the archives, and the space for them."""
    findings = database("log", LOG_DATABASE, settings.log, option="--log")
    file = local_file(LOG_DATABASE, settings.log)
    if signers:
        path = settings.mark or mark_path(settings.signing_keys[0], signers[0].name)
        current = holds_current_tables(LOG_DATABASE, settings.log)
        findings.append(_mark(path, settings.log if current else None, signers))
    places = [] if file is None else [file]
    if settings.archives is not None:
        findings.append(archive_folder("archives", settings.archives, writes=True))
        places += [] if "://" in settings.archives else [Path(settings.archives)]
    findings += free_space("disk", places)
    if file is not None and exists(file):
        newest = datetime.fromtimestamp(file.stat().st_mtime, tz=UTC)
        findings.append(clock_after("clock", now, newest, "the log's last change"))
    return findings


def _mark(path: Path, log: str | None, signers: Sequence[SigningKey]) -> Finding:
    """The check that the log's mark can be written, and that a log is this one and holds it.

    Args:
        path: the mark's file.
        log: the log's database, or None if it is new or will be migrated.
        signers: keys of the log.
    """
    origin = signers[0].name
    folder = writable_folder("mark", path.absolute().parent)
    if folder.advice:
        return folder
    try:
        if log is not None:
            reader = LogReader(log)
            if reader.origin != origin:
                what = f"the log in the database is {printable(reader.origin)}, and the key's is {origin}"
                return fault("mark", what, "give the log and its own signing key")
            MarkFile(path, origin).check(reader, PublicKeys(*(key.verifier for key in signers)))
        else:
            MarkFile(path, origin).read()
    except WeightwardenError as error:
        return fault("mark", str(error), "put the newest database or its mark back (docs/log.md)")
    known = "the log holds it" if log is not None else "readable"
    return ok("mark", f"{path}: {known if path.exists() else 'will be made at the start'}")
