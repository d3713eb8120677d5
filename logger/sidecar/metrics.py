"""Prometheus metrics of the sidecar. Labels have few, fixed values."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weightwarden.logger.serving.build_versions import build_versions

_SEALING_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """All metrics, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "weightwarden_sidecar_requests",
            "Requests by endpoint and status.",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self.ignored_fields = Counter(
            "weightwarden_sidecar_ignored_fields",
            "Fields of requests that were ignored, since they are not known here.",
            registry=self.registry,
        )
        self.tokens = Counter(
            "weightwarden_sidecar_tokens", "Tokens of prompts and of whole answers.", ["kind"], registry=self.registry
        )
        self.answers = Counter(
            "weightwarden_sidecar_answers",
            "Records by how their answer ended: stop, length, or who cut it off.",
            ["ending"],
            registry=self.registry,
        )
        self.upstream_failures = Counter(
            "weightwarden_sidecar_upstream_failures",
            "Failures of the inference server.",
            ["reason"],
            registry=self.registry,
        )
        self.logprobs_requests = Counter(
            "weightwarden_sidecar_logprobs_requests",
            "Requests to the trusted server of log probabilities, by outcome: answered, or why it failed.",
            ["outcome"],
            registry=self.registry,
        )
        self.logprobs_prefill_tokens = Counter(
            "weightwarden_sidecar_logprobs_prefill_tokens",
            "Tokens of prompts and answers that the trusted server of log probabilities read.",
            registry=self.registry,
        )
        self.logprobs_seconds = Histogram(
            "weightwarden_sidecar_logprobs_seconds",
            "Time until the trusted server gave the log probabilities of one choice.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.log_failures = Counter(
            "weightwarden_sidecar_log_failures",
            "Failed writes to the log that answers waited for.",
            registry=self.registry,
        )
        self.log_size = Gauge("weightwarden_sidecar_log_size", "Entries of the log.", registry=self.registry)
        self.checkpoint_size = Gauge(
            "weightwarden_sidecar_checkpoint_size",
            "Entries under the newest signed checkpoint.",
            registry=self.registry,
        )
        self.log_writable = Gauge(
            "weightwarden_sidecar_log_writable", "Whether the last write to the log succeeded.", registry=self.registry
        )
        self.log_writable.set(math.nan)  # unknown in a process that does not write
        self.unsealed_records = Gauge(
            "weightwarden_sidecar_unsealed_records", "Records that are in no archive.", registry=self.registry
        )
        self.last_checkpoint = Gauge(
            "weightwarden_sidecar_last_checkpoint_timestamp_seconds",
            "When every record was last under a signed checkpoint, or the sidecar's start. Unix time.",
            registry=self.registry,
        )
        self.last_archive = Gauge(
            "weightwarden_sidecar_last_archive_timestamp_seconds",
            "When sealing last succeeded, here or in another process, or the sidecar's start. Unix time.",
            registry=self.registry,
        )
        self.checkpoint_failures = Counter(
            "weightwarden_sidecar_checkpoint_failures",
            "Checkpoints that could not be signed or recorded.",
            ["cause"],
            registry=self.registry,
        )
        self.seal_failures = Counter(
            "weightwarden_sidecar_seal_failures", "Sealings that failed.", ["cause"], registry=self.registry
        )
        self.seal_seconds = Histogram(
            "weightwarden_sidecar_seal_seconds",
            "Duration of a sealing that succeeded.",
            buckets=_SEALING_SECONDS,
            registry=self.registry,
        )
        self.free_bytes = Gauge(
            "weightwarden_sidecar_free_bytes",
            "Free space for this process on the file system of a folder: the log's, its mark's, the archives'.",
            ["folder"],
            registry=self.registry,
        )
        self.upstream_up = Gauge(
            "weightwarden_sidecar_upstream_up",
            "Whether an inference server was ready when it was last checked.",
            registry=self.registry,
        )
        self.replica_up = Gauge(
            "weightwarden_sidecar_replica_up",
            "Whether a server of several was ready when it was last checked.",
            ["replica"],
            registry=self.registry,
        )
        self.replica_choices = Gauge(
            "weightwarden_sidecar_replica_choices_in_flight",
            "Choices under way by server, of several.",
            ["replica"],
            registry=self.registry,
        )
        self.replica_failures = Counter(
            "weightwarden_sidecar_replica_failures",
            "Failures by server, of several.",
            ["replica"],
            registry=self.registry,
        )
        self.build_info = Gauge(
            "weightwarden_sidecar_build_info",
            "1, with the versions of the sidecar, of Python and of SQLite.",
            list(build_versions()),
            registry=self.registry,
        )
        self.build_info.labels(**build_versions()).set(1)
        self.engine_info = Gauge(
            "weightwarden_sidecar_engine_info",
            "1, with the engine, version, scheme and profile of the records; the profile is empty without one.",
            ["engine", "version", "sampler", "profile"],
            registry=self.registry,
        )
        self.witness_time = Gauge(
            "weightwarden_sidecar_witness_last_cosignature_timestamp_seconds",
            "When the newest checkpoint last had the witness's cosignature, or the sidecar's start. Unix time.",
            ["witness"],
            registry=self.registry,
        )
        self.witness_size = Gauge(
            "weightwarden_sidecar_witness_size",
            "Entries under the newest checkpoint that the witness cosigned since the start.",
            ["witness"],
            registry=self.registry,
        )
        self.witness_failures = Counter(
            "weightwarden_sidecar_witness_failures",
            "Checkpoints that the witness did not cosign, by cause.",
            ["witness", "cause"],
            registry=self.registry,
        )
        self.choices = Gauge("weightwarden_sidecar_choices_in_flight", "Choices under way.", registry=self.registry)
        self.durable_seconds = Histogram(
            "weightwarden_sidecar_log_commit_seconds",
            "Time until tokens were durable.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.first_token_seconds = Histogram(
            "weightwarden_sidecar_first_token_seconds",
            "Time from a request to its first token's release.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.workers = Gauge("weightwarden_sidecar_workers", "Processes that answer clients.", registry=self.registry)
        self.worker_ends = Counter(
            "weightwarden_sidecar_worker_ends",
            "Worker processes that ended unasked.",
            registry=self.registry,
        )
