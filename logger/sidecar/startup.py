"""Start-up of the sidecar. Everything that it reads and opens is checked before its first request."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from weightwarden.logger.files.private import read_secret, require_distinct
from weightwarden.logger.model.adapter import read_adapters
from weightwarden.logger.record import Engine
from weightwarden.logger.sealing import ready_folder
from weightwarden.logger.serving.address import exposures
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.cache_salts import CacheSalts
from weightwarden.logger.sidecar.cors import ANY, Cors
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.grammar_gate import GrammarGate
from weightwarden.logger.sidecar.log.call_ids import CallIds
from weightwarden.logger.sidecar.log.checkpointer import Checkpointer
from weightwarden.logger.sidecar.log.recorder import recover
from weightwarden.logger.sidecar.log.request_ids import RequestIds
from weightwarden.logger.sidecar.log.seeds import SeedIssuer, SeedStore, read_seed_key
from weightwarden.logger.sidecar.log.witness_client import checked_url
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.store.database import LOG_DATABASE
from weightwarden.logger.store.mark import NONCE_BYTES, MarkFile, mark_path
from weightwarden.logger.store.reader import LogReader
from weightwarden.logger.store.writer import LogWriter
from weightwarden.logger.tlog.auditor_key import require_log
from weightwarden.logger.tlog.cosignature import WitnessKeys
from weightwarden.logger.tlog.keys import SigningKey
from weightwarden.sampler.known_engines import unlisted
from weightwarden.text import printable


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The secret and the names from which a process makes seeds and ids.

    Attributes:
        seed_key: the seed key.
        origin: the log's name.
        nonce: random bytes of this start, or of a worker's, so that no other start issues the same ids.
    """

    seed_key: bytes
    origin: str
    nonce: bytes

    def __repr__(self) -> str:
        return f"<Identity in {self.origin}>"


@dataclass(frozen=True, kw_only=True)
class ServingParts:
    """The parts that serve requests, without the log. They are opened and checked before the first request.

    Attributes:
        settings: the settings, with limits for the model's context.
        model: the served model.
        grammars: gate of the requests' grammars.
        api_keys: the clients' keys, or None.
        upstream_key: API key for the server, or None.
        logprobs_key: API key for the trusted server of log probabilities, or None.
        request_ids: issuer of request ids.
        call_ids: issuer of the ids of tool calls.
        cache_salts: issuer of the salts of the server's prefix cache.
        clock: Unix time, seconds. It may jump: only stamps, and the age of seeds kept for retries, depend on it.
    """

    settings: Settings
    model: ServedModel
    grammars: GrammarGate
    api_keys: ApiKeys | None
    upstream_key: str | None
    logprobs_key: str | None
    request_ids: RequestIds
    call_ids: CallIds
    cache_salts: CacheSalts
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, kw_only=True)
class SidecarParts(ServingParts):
    """The parts of a sidecar's main process.

    Attributes:
        identity: what its seeds and ids are made from.
        signers: keys of the log.
        log: writer of the log.
        checkpointer: signs checkpoints and seals archives.
        witness_keys: the listed witnesses, or None without witnesses.
        nonces: nonce of every start, by its number.
        issuer: makes the issuer of seeds over a store.
        recovered: number of drafts of an earlier process that were made records.
    """

    identity: Identity
    signers: tuple[SigningKey, ...]
    log: LogWriter
    checkpointer: Checkpointer
    witness_keys: WitnessKeys | None
    nonces: dict[int, bytes]
    issuer: Callable[[SeedStore], SeedIssuer]
    recovered: int

    def folders(self) -> dict[str, Path]:
        """The local folders to which the sidecar writes: of the log, of its mark, and for archives."""
        found = {"mark": self.checkpointer.mark.path.absolute().parent}
        url = LOG_DATABASE.parse_url(self.settings.log)
        if url.drivername == "sqlite":
            found["log"] = Path(str(url.database)).absolute().parent
        if self.settings.archives is not None and "://" not in self.settings.archives:
            found["archives"] = Path(self.settings.archives)
        return found


def warnings(settings: Settings) -> list[str]:
    """Warnings for the operator about settings that weaken a sidecar."""
    found = exposures(settings.listen, keys=settings.api_keys is not None, tls=settings.tls_key is not None)
    if settings.metrics is not None and settings.metrics.is_wildcard:
        found.append(
            f"--metrics {settings.metrics}: all networks of this machine reach it, without a key; listen on the address"
            " that only Prometheus reaches"
        )
    if ANY in settings.allowed_origins and settings.api_keys is None:
        found.append(
            "--allowed-origins *: every web page that is open in a browser of this network can send requests and read"
            " answers; give --api-keys, or the origins of your pages"
        )
    inference = {upstream.url.rstrip("/") for upstream in settings.upstreams}
    if settings.logprobs_url is not None and settings.logprobs_url.rstrip("/") in inference:
        found.append(
            "--logprobs-url is an inference server: it can put anything into the log probabilities that clients get;"
            " give a server that you trust"
        )
    return found


def unlisted_engine(settings: Settings) -> str | None:
    """The reason why the engine and version are not known to draw by the scheme, and what to do; None if they are.

    Nothing is drawn at temperature 0. A sidecar that refuses all other requests can have any scheme.
    """
    engine = settings.engine
    if settings.speculative_decoding:
        return None
    return unlisted(engine.sampler, printable(engine.name), printable(engine.version))


def is_web_url(url: str) -> bool:
    """True for http://... and https://... with a host."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def sends_grammars(engine: Engine) -> bool:
    """True if an engine takes grammars in the form in which they are sent, which is vLLM's."""
    return engine.name.lower() == "vllm"


def names_adapters(engine: Engine) -> bool:
    """True if an engine takes an adapter's name as the model of a request, which is vLLM's form."""
    return engine.name.lower() == "vllm"


def sends_cache_salts(settings: Settings) -> bool:
    """True if requests to the server have a salt of its prefix cache: for each API key one, in vLLM's form."""
    is_vllm = settings.engine.name.lower() == "vllm"
    return is_vllm and settings.api_keys is not None and settings.cache_salt == "tenant"


def secret_files(settings: Settings) -> dict[str, Path | None]:
    """The files of secrets by their options. Each needs a secret of its own."""
    return {
        "--seed-key": settings.seed_key,
        **{f"--signing-key ({at})": path for at, path in enumerate(settings.signing_keys, 1)},
        "--api-keys": settings.api_keys,
        "--upstream-key": settings.upstream_key,
        "--logprobs-key": settings.logprobs_key,
        "--tls-key": settings.tls_key,
    }


@contextmanager
def opened(settings: Settings, clock: Callable[[], float] = time.time) -> Iterator[SidecarParts]:
    """The parts of an opened sidecar: keys, model, log. Drafts of an earlier process become records first.

    Raises:
        KeyFileError: a key file or the mark cannot be used.
        SettingsError: a setting is invalid.
        ArchiveUnreadable: the folder for archives is missing, and cannot be made or was there before.
        ModelError: the model folder or an adapter cannot be used.
        MissingExtra: there is a grammar backend, and llguidance is not installed.
        LogLocked: another process has the log open.
        LogUnreadable: the log's database cannot be opened.
        LogCorrupt: the log was changed, or does not extend its checkpoint, mark or archive.
        LogWriteError: the log cannot be written.
    """
    _check(settings)
    signers = tuple(SigningKey.read(path) for path in settings.signing_keys)
    if len({key.name for key in signers}) != 1:
        raise SettingsError("one or more signing keys of one log are needed")
    require_log(signers[0].name)
    origin, nonce = signers[0].name, secrets.token_bytes(NONCE_BYTES)
    identity = Identity(seed_key=read_seed_key(settings.seed_key), origin=origin, nonce=nonce)
    witness_keys = _witness_keys(settings)
    path = settings.mark or mark_path(settings.signing_keys[0], origin)
    with (
        serving_parts(settings, identity, clock) as parts,
        MarkFile(path, origin) as mark,
        LogWriter.open(settings.log, origin=origin) as log,
    ):
        checkpointer = Checkpointer(
            url=settings.log,
            log=log,
            signers=signers,
            mark=mark,
            archives=settings.archives,
            keep_sealed=settings.keep_sealed,
            min_witnesses=settings.min_witnesses,
        )
        checkpointer.check()
        reader = LogReader(settings.log)
        if settings.archives is not None:
            ready_folder(reader, settings.archives)
        start = log.start(nonce)
        mark.begin(start, nonce)
        nonces = reader.starts() | {start: nonce}
        yield SidecarParts(
            **{one.name: getattr(parts, one.name) for one in fields(parts)},
            identity=identity,
            signers=signers,
            log=log,
            checkpointer=checkpointer,
            witness_keys=witness_keys,
            nonces=nonces,
            issuer=partial(
                SeedIssuer,
                identity.seed_key,
                origin,
                nonces=nonces,
                start=start,
                left_open=reader.open_seeds(),
                clock=clock,
            ),
            recovered=recover(log),
        )


@contextmanager
def serving_parts(
    settings: Settings, identity: Identity, clock: Callable[[], float] = time.time
) -> Iterator[ServingParts]:
    """The parts that serve requests, in the main process or in a worker.

    Raises:
        KeyFileError: a key file cannot be used.
        SettingsError: an adapter has the model's name.
        ModelError: the model folder or an adapter cannot be used.
        MissingExtra: there is a grammar backend, and llguidance is not installed.
    """
    api_keys = None if settings.api_keys is None else ApiKeys.read(settings.api_keys)
    upstream_key = None if settings.upstream_key is None else read_secret(settings.upstream_key)
    adapters = read_adapters(settings.adapters, settings.adapter_folders)
    if settings.upstream_model in adapters:
        raise SettingsError(f"adapter: {printable(settings.upstream_model)} is the model's name on the server")
    logprobs_key = None if settings.logprobs_key is None else read_secret(settings.logprobs_key)
    model = ServedModel.load(
        settings.model_dir,
        name=settings.model_name,
        context_length=settings.max_model_len,
        chat_template=settings.chat_template,
        neutral_defaults=settings.neutral_defaults,
        tool_parser=settings.tool_parser,
        reasoning_parser=settings.reasoning_parser,
        adapters=adapters,
    )
    salted = api_keys if sends_cache_salts(settings) else None
    with closing(GrammarGate.open(settings.grammar_backend, settings.model_dir, model.vocabulary)) as grammars:
        yield ServingParts(
            settings=replace(settings, limits=settings.limits.for_context(model.context_length)),
            model=model,
            grammars=grammars,
            api_keys=api_keys,
            upstream_key=upstream_key,
            logprobs_key=logprobs_key,
            request_ids=RequestIds(identity.seed_key, identity.origin, identity.nonce),
            call_ids=CallIds(identity.seed_key, identity.origin, identity.nonce),
            cache_salts=CacheSalts(identity.seed_key, identity.origin, salted),
            clock=clock,
        )


def _check(settings: Settings) -> None:
    """Refuse settings that would otherwise fail later, one request at a time."""
    for upstream in settings.upstreams:
        if not is_web_url(upstream.url):
            raise SettingsError(f"{printable(upstream.url)}: the upstream server's URL is http://... or https://...")
    if settings.logprobs_url is None and (settings.logprobs_model is not None or settings.logprobs_key is not None):
        raise SettingsError("logprobs-model and logprobs-key need logprobs-url")
    if settings.logprobs_url is not None and not is_web_url(settings.logprobs_url):
        raise SettingsError(f"logprobs-url: {printable(settings.logprobs_url)} is not http://... or https://...")
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError("TLS needs a certificate and its key")
    Cors(settings.allowed_origins)
    found = unlisted_engine(settings)
    if found is not None and not settings.unlisted_engine:
        raise SettingsError(f"sampler: {found}; --unlisted-engine starts all the same")
    if (settings.adapters or settings.adapter_folders) and not names_adapters(settings.engine):
        raise SettingsError(
            f"adapter: adapters are named in vLLM's form only, not in that of {printable(settings.engine.name)}"
        )
    if settings.grammar_backend is not None and not sends_grammars(settings.engine):
        raise SettingsError(
            f"grammar-backend: grammars are sent to vLLM only, not to {printable(settings.engine.name)}"
        )
    require_distinct(secret_files(settings))
    if settings.workers > 1 and settings.release_tick is not None:
        raise SettingsError(
            "workers: with release-tick all answers of a tick leave in one order, which one process alone can keep; use"
            " release-pace, or one worker"
        )
    if settings.keep_sealed is not None and settings.archives is None:
        raise SettingsError("keep-sealed needs archives: only sealed records leave the log's database")


def _witness_keys(settings: Settings) -> WitnessKeys | None:
    """The listed witnesses; None without witnesses.

    Raises:
        SettingsError: the witnesses' settings exclude each other.
        KeyFileError: the file of their keys cannot be used.
    """
    if not settings.witness_urls and settings.witness_keys is None:
        if settings.min_witnesses:
            raise SettingsError("cosignatures are required, and there are no witnesses: give their URLs and keys")
        return None
    if not settings.witness_urls or settings.witness_keys is None:
        raise SettingsError("witnesses need both, their URLs and the file with their keys")
    for number, url in enumerate(settings.witness_urls, 1):
        checked_url(url, number)
    keys = WitnessKeys.read(settings.witness_keys)
    if settings.min_witnesses > len(keys):
        raise SettingsError(f"{settings.min_witnesses} cosignatures are required, and {len(keys)} witnesses are listed")
    return keys
