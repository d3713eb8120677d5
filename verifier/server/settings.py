"""All settings of a verification server in one immutable object; secrets are files, never shown."""

from dataclasses import dataclass
from pathlib import Path

from weightwarden.logger.serving.address import Address
from weightwarden.logger.tlog.cosignature import Quorum
from weightwarden.verifier.statistics.sampling_design import AuditBy, SamplingDesign


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a verification server, besides the policy and the replayer.

    Attributes:
        archives: folders (paths or fsspec URLs).
        public_keys: file with the public keys of the logs.
        quorum: the witnesses that must have cosigned the logs; None without witnesses.
        database: path or URL of the verdict database.
        audit_key: file with the audit key.
        audit_rate: share of the records; None where `compute_share` and `least_rate` determine it.
        audit_by: "tokens" draws records in proportion to their tokens; the rate is that of an answer of 1,016 tokens.
        compute_share: share of this machine's time for replaying, in (0, 1]; it also limits a compute budget.
        least_rate: least audit rate under a compute budget.
        start_index: index in each log at which following begins.
        largest: largest size of an archive, bytes; larger files are ignored.
        poll_interval: seconds between searches of the folders.
        archive_interval: seconds within which a new archive is expected.
        egress_reports: folders of taps' reports (paths or fsspec URLs), one a tap.
        egress_stale_after: seconds after the end of a tap's newest report from which on the tap is stale.
        max_lag: seconds that auditing an archive may take.
        lease_timeout: seconds without a sign of life after which another server takes over.
        stuck_after: seconds without progress after which a server ends itself.
        batch_records: largest number of records replayed at once by each worker.
        batch_cost: largest number of tokens, prompts included, replayed at once by each worker.
        retain_days: days that the verdicts of records that are not flagged are kept; None for ever.
        alarm_level: probability that an honest series ever alarms.
        watch_level: probability that the evidence of such a series ever puts it into state `watch`.
        max_record_weight: tokens of a record that weighs most in rates.
        max_model_len: the inference server's context length, tokens; None for the model's default.
        webhook: URL that receives notices.
        webhook_secret: file with the secret that signs notices.
        command: command that is run with each notice.
        dashboard_url: URL of the dashboard for the links of notices, as a browser reaches it; None for relative links.
        listen: address of the HTTP server.
        api_keys: file with the operators' API keys.
        read_keys: file with API keys that may read, and change nothing.
        show_text: whether the API shows tokens.
        tls_certificate: file with the TLS certificate.
        tls_key: file with the TLS key.
        weights_bytes: size of the weights that could be stolen.
        compression: factor by which an attacker compresses the weights.
        tokens_per_day: output tokens a day; None to measure them.
        tokens_per_tick: mean tokens that a stream releases on a tick of the sidecar; None without ticks.
        model: name of the model among those of the server; None for the only one.
    """

    archives: tuple[str, ...]
    public_keys: Path
    database: str
    audit_key: Path
    audit_rate: float | None
    audit_by: AuditBy = "records"
    compute_share: float = 1.0
    least_rate: float = 0.001
    quorum: Quorum | None = None
    start_index: int = 0
    largest: int = 2**36
    poll_interval: float = 30.0
    archive_interval: float = 7200.0
    egress_reports: tuple[str, ...] = ()
    egress_stale_after: float = 86_400.0
    max_lag: float = 3600.0
    lease_timeout: float = 30.0
    stuck_after: float = 1800.0
    batch_records: int = 32
    batch_cost: int = 4096
    retain_days: float | None = None
    alarm_level: float = 1e-4
    watch_level: float = 0.05
    max_record_weight: int = 1024
    max_model_len: int | None = None
    webhook: str | None = None
    webhook_secret: Path | None = None
    command: tuple[str, ...] = ()
    dashboard_url: str | None = None
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
    model: str | None = None

    @property
    def links_base(self) -> str:
        """The beginning of the links to the model's dashboard, without a slash at its end."""
        base = (self.dashboard_url or "").rstrip("/")
        return base if self.model is None else f"{base}/models/{self.model}"

    @property
    def least_design(self) -> SamplingDesign:
        """The sampling design with the least rate."""
        return SamplingDesign(self.least_rate if self.audit_rate is None else self.audit_rate, self.audit_by)
