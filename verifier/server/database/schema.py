"""The tables of the verdict database; `migrations` creates them. Times are seconds since 1970 (UTC)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData()

_BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's row id
_TIME: Double[float] = Double()

SERIES = Table(
    "series",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", _TIME, nullable=False),
    Column("policy_digest", String, nullable=False),
    Column("model_digest", String, nullable=False),
    Column("model_name", String),
    Column("next_position", _BIG, nullable=False),
    Column("accounted", _BIG, nullable=False),
    Column("retained_from", _BIG, nullable=False),
    Column("accounts", LargeBinary, nullable=False),
    Column("credit", _TIME, nullable=False),
    Column("credit_at", _TIME, nullable=False),
    Column("watched", _TIME),
)
"""The series, one row: policy and model of all verdicts; the first position without a record; the first position that
is not in the accounts; the first position that retention has not looked at; the accounts
(`verifier.server.accounting.accounts`); the rest of a compute budget, tokens, and its time; time of the last update of
incidents.
"""

SERVER = Table(
    "server",
    METADATA,
    Column("name", String, primary_key=True),
    Column("seen", _TIME, nullable=False),
    Column("beats", _BIG, nullable=False),
    Column("channels", Text, nullable=False),
    Column("tokens_per_second", _TIME),
    Column("compute_share", _TIME),
    Column("trouble", Text),
)
"""Servers on this database: time of the last sign of life by the database's clock, the number of all so far, and the
channels on which the server announces incidents, as JSON.
"""

LEASE = Table(
    "lease",
    METADATA,
    Column("name", String, primary_key=True),
    Column("owner", String),
)
"""Leases of work that one server does at a time."""

ARCHIVE = Table(
    "archive",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("url", Text, nullable=False, unique=True),
    Column("folder", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("found", _TIME, nullable=False),
    Column("checked", _TIME),
    Column("audited", _TIME),
    Column("origin", String),
    Column("start", _BIG),
    Column("end", _BIG),
    Column("root", LargeBinary),
    Column("note", LargeBinary),
    Column("records", _BIG),
    Column("tokens", _BIG),
    Column("cost", _BIG),
    Column("unit_cost", _TIME),
    Column("audit_rate", _TIME),
    Column("audit_by", String),
    Column("selected", _BIG),
    Column("selected_tokens", _BIG),
    Column("position_end", _BIG),
    Column("unaudited", LargeBinary),
    Column("paced_records", _BIG),
    Column("paced_tokens", _BIG),
    Column("timing_bits", _TIME),
    Index("archive_state", "state", "id"),
    Index("archive_range", "origin", "start"),
    Index("archive_checked", "checked"),
    Index("archive_found", "found"),
    Index("archive_silence", "origin", "checked"),
    Index(
        "archive_uncounted",
        "position_end",
        sqlite_where=text("unaudited IS NOT NULL"),
        postgresql_where=text("unaudited IS NOT NULL"),
    ),
)
"""Every archive that was found. `tries`: number of unfinished attempts to read it. `tokens`: output tokens of its
records; `cost`: prompt tokens included; `unit_cost`: expected cost of the selected records at rate 1 by tokens;
`audit_by`: "records" or "tokens", what the audit rate is a share of; `selected_tokens`: output tokens of the selected
records; `position_end`: position behind the selected records; `unaudited`: the other records by length
(`LengthTable`), until the limit of the series counts them; `paced_records`, `paced_tokens`: records that hold their
release, and their output tokens; `timing_bits`: what their timing is charged (`ReleaseTable`).
"""

TREE_ROOT = Table(
    "tree_root",
    METADATA,
    Column("origin", String, primary_key=True),
    Column("size", _BIG, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
)
"""Roots of logs at the sizes where checked archives begin and end; later archives must agree with them."""

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("kind", String, nullable=False),
    Column("place", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("archive", _BIG, ForeignKey("archive.id")),
    Column("origin", String),
    Column("start", _BIG),
    Column("end", _BIG),
    Column("since", _TIME, nullable=False),
    Column("resolved", _TIME),
    Index("quarantine_open", "resolved", "id"),
    Index("quarantine_archive", "archive"),
)
"""Quarantine: archives that are kept out of the audit, and missing ranges."""

TASK = Table(
    "task",
    METADATA,
    Column("position", _BIG, primary_key=True, autoincrement=False),
    Column("archive", _BIG, ForeignKey("archive.id"), nullable=False),
    Column("index", _BIG, nullable=False),
    Column("cost", _BIG, nullable=False),
    Column("tokens", _BIG, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("owner", String),
    Column("attempts", Integer, nullable=False),
    Column("due", _TIME, nullable=False),
    Index("task_archive", "archive"),
)
"""Selected records without a verdict: their canonical bytes, the server that works on them, the number of failed
attempts, and the time of the next one.
"""

VERDICT = Table(
    "verdict",
    METADATA,
    Column("position", _BIG, primary_key=True, autoincrement=False),
    Column("archive", _BIG, ForeignKey("archive.id"), nullable=False),
    Column("index", _BIG, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("tokens", _BIG, nullable=False),
    Column("mismatches", _BIG, nullable=False),
    Column("suspicious", _BIG, nullable=False),
    Column("dangerous", _BIG, nullable=False),
    Column("outside_grammar", _BIG, nullable=False, server_default=text("0")),
    Column("outliers", _BIG, nullable=False),
    Column("flagged", Boolean, nullable=False),
    Column("unverifiable", Boolean, nullable=False),
    Column("early_stop", Boolean, nullable=False),
    Column("p_value", _TIME, nullable=False),
    Column("counting_bits", _TIME, nullable=False),
    Column("pooled_bits", _TIME, nullable=False),
    Column("end_bits", _TIME, nullable=False),
    Column("entropy_bits", _TIME),
    Column("largest_margin", _TIME),
    Column("margins", LargeBinary, nullable=False),
    Column("log_ratio", LargeBinary, nullable=False),
    Column("reasons", Text),
    Column("evidence", Boolean, nullable=False),
    Index("verdict_record", "archive", "index", unique=True),
    Index("verdict_of_archive", "archive", "position"),
    Index("verdict_flagged", "position", sqlite_where=text("flagged = 1"), postgresql_where=text("flagged")),
    Index(
        "verdict_unverifiable",
        "position",
        sqlite_where=text("unverifiable = 1"),
        postgresql_where=text("unverifiable"),
    ),
)
"""The verdict of every audited record, exactly once, by two unique keys. An unverifiable record is flagged too, unless
its request leaves no definite token.
"""

EVIDENCE = Table(
    "evidence",
    METADATA,
    Column("position", _BIG, ForeignKey("verdict.position"), primary_key=True, autoincrement=False),
    Column("payload", LargeBinary, nullable=False),
    Column("tokens", LargeBinary, nullable=False),
)
"""Evidence of records with a token that is not safe, and of flagged ones: canonical bytes, and the scores of the
tokens.
"""

RATE_POINT = Table(
    "rate_point",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("at", _TIME, nullable=False),
    Column("figures", Text, nullable=False),
    Index("rate_point_at", "at"),
)
"""The watched rates at moments, for charts."""

INCIDENT = Table(
    "incident",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("level", String, nullable=False),
    Column("what", Text, nullable=False),
    Column("opened", _TIME, nullable=False),
    Column("ended", _TIME),
    Column("acknowledged", _TIME),
    Column("acknowledged_by", Text),
    Column("reason", Text),
    Index("incident_ended", "ended", "id"),
    Index("incident_unseen", "acknowledged", "id"),
)
"""Incidents: condition, times, and the operator's acknowledgement. Never removed."""

DELIVERY = Table(
    "delivery",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("incident", _BIG, ForeignKey("incident.id"), nullable=False),
    Column("channel", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", _TIME, nullable=False),
    Column("done", _TIME),
    Column("error", Text),
    Index("delivery_due", "done", "due"),
)
"""Notices and their channels; kept until they are accepted."""

EGRESS_REPORT = Table(
    "egress_report",
    METADATA,
    Column("id", _BIG, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("read", _TIME, nullable=False),
    Column("fault", Text),
    Column("subject", Text),
    Column("origin", String),
    Column("verdict", String),
    Column("first_time", _TIME),
    Column("last_time", _TIME),
    Column("frames", _BIG),
    Column("unexplained_frames", _BIG),
    Column("unexplained_bytes", _BIG),
    Column("what", Text),
    Index("egress_report_file", "url", "fingerprint", unique=True),
    Index("egress_report_newest", "folder", "last_time"),
    Index("egress_report_verdict", "verdict", "id"),
)
"""Reports of taps. `fault`: why the file is refused; such a file has no other columns, and its row is removed with it.
`subject`: that of the incident of its unexplained frames. Reports that were read are never removed.
"""
