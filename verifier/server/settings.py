"""All that an operator says about a verification server, in one immutable object; secrets are files, never shown."""

from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.serving.address import Address


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a verification server is run with, besides the policy and the replayer.

    Attributes:
        archives: folders (paths or fsspec URLs). public_keys: of the logs. database: path or URL.
        audit_key, api_keys, read_keys, webhook_secret, tls_key: files with secrets.
        audit_rate: share of the records; None where `compute_share` and `least_rate` decide it.
        largest: bytes; what is larger is no archive.
        poll: seconds between looks at the folders. expect_every: seconds within which a new archive is expected.
        most_lag: seconds that auditing an archive may take. takeover: seconds without a sign of life after which
            another server takes over. stuck_after: seconds without progress after which a server ends itself.
        false_alarm, watch_at: probabilities that an honest series ever alarms, and is ever to be watched.
        longest_record: tokens of a record that weighs most in rates.
        command: what is run with each notice. show_text: whether the API shows tokens.
        weights_bytes, compression: what there is to steal. tokens_per_day: where it is not to be measured.
        tokens_per_tick: mean tokens that a stream releases on a tick of the sidecar; None without ticks.
    """

    archives: tuple[str, ...]
    public_keys: Path
    database: str
    audit_key: Path
    audit_rate: float | None
    compute_share: float = 1.0
    least_rate: float = 0.001
    start_index: int = 0
    largest: int = 2**36
    poll_interval: float = 30.0
    archive_interval: float = 7200.0
    max_lag: float = 3600.0
    lease_timeout: float = 30.0
    stuck_after: float = 1800.0
    batch_records: int = 32
    batch_cost: int = 4096
    alarm_level: float = 1e-4
    watch_level: float = 0.05
    max_record_weight: int = 1024
    max_model_len: int | None = None
    webhook: str | None = None
    webhook_secret: Path | None = None
    command: tuple[str, ...] = ()
    listen: Address
    api_keys: Path | None
    read_keys: Path | None = None
    show_text: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    weights_bytes: float
    compression: float = 1.0
    tokens_per_day: float | None = None
    tokens_per_tick: float | None = None
