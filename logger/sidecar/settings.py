"""Settings of a sidecar in one immutable object. Secrets are read from files and never shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from weightwarden.logger.grammar.backend import GrammarBackend
from weightwarden.logger.record import Engine
from weightwarden.logger.release import Pace
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.logger.sidecar.upstream.replica_url import ReplicaUrl


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a sidecar.

    Attributes:
        upstreams: addresses of the inference servers, which serve one model alike.
        upstream_model: the model's name on them.
        upstream_key: file with the API key for them, or None.
        adapters: names and folders of low-rank adapters. The servers must serve each under its name.
        adapter_folders: folders that hold one folder for each adapter.
        logprobs_url: URL of the trusted server of log probabilities, or None: requests for them are refused.
        logprobs_model: the model's name on that server, or None for `upstream_model`.
        logprobs_key: file with the API key for that server, or None.
        model_dir: folder with the trusted tokenizer and configuration.
        model_name: the model's name for clients and in records.
        max_model_len: context length in tokens where it is less than the model's, or None.
        chat_template: file with the chat template, or None for the model folder's.
        neutral_defaults: ignore generation_config.json: temperature 1, no filters.
        tool_parser: family of the model's tool calls, `none`, or None to guess it from the chat template.
        reasoning_parser: family of the model's reasoning, `none`, or None to guess it from the chat template.
        reasoning_content: give reasoning also by its older name `reasoning_content`.
        stops_in_reasoning: let stop strings end an answer within its reasoning, too.
        engine: the server's engine, as the operator knows it, with the digest of its profile if it has one.
        unlisted_engine: start although the scheme was not compared with this engine and version.
        grammar_backend: the server's grammar backend, or None: requests with grammars are refused.
        speculative_decoding: whether the server decodes speculatively: requests above temperature 0 are then refused.
        log: URL of the log's database.
        signing_keys: files with the keys that sign checkpoints and archives.
        seed_key: file with the key from which seeds are made.
        mark: file with the log's mark, or None for the one beside the first signing key.
        client_seeds: "replace" ignores a client's seed, "allow" uses it.
        unknown_fields: "ignore" lets fields of requests pass that are not known here, "refuse" refuses such requests.
        listen: address for clients.
        metrics: address for Prometheus metrics, or None.
        tls_certificate: file with the TLS certificate, or None for plain HTTP.
        tls_key: file with the TLS key.
        api_keys: file with the clients' API keys, or None when every client is served.
        cache_salt: "tenant" sends the server a salt of its prefix cache for each API key, "off" sends none.
        allowed_origins: origins of web pages whose scripts may read answers.
        release_tick: seconds between two ticks of release, or None.
        release_pace: pace at which answers leave, or None.
        record_index: "send" gives clients the indices of their records, "omit" does not. None: omit with release
            ticks and with a pace, send without.
        archives: folder for archives, or None when another process seals.
        witness_urls: submission prefixes of the witnesses that cosign checkpoints.
        witness_keys: file with the witnesses' keys; None without witnesses.
        min_witnesses: fewest cosignatures of an archive's checkpoint; 0 seals without them, too.
        witness_timeout: seconds that an answer of a witness may take.
        checkpoint_every: seconds between checkpoints.
        seal_every: seconds between archives.
        keep_sealed: number of newest archives whose records stay in the log's database, or None for all.
        workers: number of processes that answer requests. With 1 the main process does so itself.
        limits: limits for clients and server.
    """

    upstreams: tuple[ReplicaUrl, ...]
    upstream_model: str
    upstream_key: Path | None = None
    adapters: tuple[tuple[str, Path], ...] = ()
    adapter_folders: tuple[Path, ...] = ()
    logprobs_url: str | None = None
    logprobs_model: str | None = None
    logprobs_key: Path | None = None
    model_dir: Path
    model_name: str
    max_model_len: int | None = None
    chat_template: Path | None = None
    neutral_defaults: bool = False
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    reasoning_content: bool = False
    stops_in_reasoning: bool = False
    engine: Engine
    unlisted_engine: bool = False
    grammar_backend: GrammarBackend | None = None
    speculative_decoding: bool = False
    log: str
    signing_keys: tuple[Path, ...]
    seed_key: Path
    mark: Path | None = None
    client_seeds: Literal["replace", "allow"] = "replace"
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    listen: Address
    metrics: Address | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    api_keys: Path | None = None
    cache_salt: Literal["tenant", "off"] = "tenant"
    allowed_origins: tuple[str, ...] = ()
    release_tick: float | None = None
    release_pace: Pace | None = None
    record_index: Literal["send", "omit"] | None = None
    archives: str | None = None
    witness_urls: tuple[str, ...] = ()
    witness_keys: Path | None = None
    min_witnesses: int = 0
    witness_timeout: float = 10.0
    checkpoint_every: float = 60.0
    seal_every: float = 3600.0
    keep_sealed: int | None = None
    workers: int = 1
    limits: Limits = field(default_factory=Limits)

    @property
    def sends_record_index(self) -> bool:
        """True if clients are given the indices of their records.

        With release ticks the index would be a channel that the ticks do not close: the number of answers that the
        server ended meanwhile. With a pace a record is made once its answer has left, so that there is no index yet.
        """
        if self.record_index is not None:
            return self.record_index == "send"
        return self.release_tick is None and self.release_pace is None
