"""All that an operator says about a sidecar, in one immutable object; secrets are read from files and never shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from weightwarden.logger.record import Engine
from weightwarden.logger.serving.address import Address
from weightwarden.logger.sidecar.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a sidecar is run with.

    Attributes:
        upstream: URL of the inference server. upstream_model: the model's name there.
        upstream_key, seed_key, api_keys, signing_keys: files with secrets.
        model_dir: folder with the trusted tokenizer and configuration. model_name: what clients and records call it.
        engine: the server's, as the operator knows it. log: the log's database.
        mark: file with the log's mark, or None for the one beside the first signing key.
        metrics: where Prometheus finds metrics, or None.
        tick: seconds between releases, or None. archives: folder for archives, or None when another seals.
        checkpoint_every, seal_every: seconds.
    """

    upstream: str
    upstream_model: str
    upstream_key: Path | None = None
    model_dir: Path
    model_name: str
    max_model_len: int | None = None
    chat_template: Path | None = None
    neutral_defaults: bool = False
    engine: Engine
    log: str
    signing_keys: tuple[Path, ...]
    seed_key: Path
    mark: Path | None = None
    client_seeds: Literal["replace", "allow"] = "replace"
    listen: Address
    metrics: Address | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    api_keys: Path | None = None
    release_tick: float | None = None
    archives: str | None = None
    checkpoint_every: float = 60.0
    seal_every: float = 3600.0
    limits: Limits = field(default_factory=Limits)
