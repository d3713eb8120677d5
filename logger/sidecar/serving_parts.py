"""The parts of the sidecar that serve requests: keys of clients and servers, model, grammars, ids."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from weightwarden.logger.files.private import read_secret
from weightwarden.logger.model.adapter import read_adapters
from weightwarden.logger.serving.api_keys import ApiKeys
from weightwarden.logger.sidecar.cache_salts import CacheSalts
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.sidecar.grammar_gate import GrammarGate
from weightwarden.logger.sidecar.log.call_ids import CallIds
from weightwarden.logger.sidecar.log.request_ids import RequestIds
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.settings import Settings
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


def sends_cache_salts(settings: Settings) -> bool:
    """True if requests to the server have a salt of its prefix cache: for each API key one, in vLLM's form."""
    is_vllm = settings.engine.name.lower() == "vllm"
    return is_vllm and settings.api_keys is not None and settings.cache_salt == "tenant"


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
