"""Identity of a report: its time and author, and the policy file; for JSON, HTML and token files alike."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weightwarden import __version__
from weightwarden.cli.reports.contents import REPORT_FORMAT
from weightwarden.errors import WeightwardenError
from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.verification.run import Run

MAX_AUDITOR = 200


class AuditorError(WeightwardenError, ValueError):
    """An auditor's name that a report cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ReportIdentity:
    """The part of a report's identity that the run does not have.

    Attributes:
        created: time of the report, UTC, whole seconds.
        auditor: name of the auditor, as it was given; None if it was not.
        policy_path: policy file as it was given; None for a policy that is no file.
        policy_sha256: SHA-256 of the policy file, hex.
        engine_profile: the engine profile that the records name, if it was given.
    """

    created: datetime
    auditor: str | None = None
    policy_path: str | None = None
    policy_sha256: str | None = None
    engine_profile: EngineProfile | None = None

    @classmethod
    def of(
        cls,
        policy_path: Path | None = None,
        auditor: str | None = None,
        engine_profile: EngineProfile | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> "ReportIdentity":
        """The identity of a report that is made now.

        Raises:
            AuditorError: the auditor's name is empty, too long, or not printable.
        """
        if auditor is not None and not (
            len(auditor.strip()) > 0 and len(auditor) <= MAX_AUDITOR and auditor.isprintable()
        ):
            raise AuditorError(f"an auditor's name has 1 to {MAX_AUDITOR} printable characters, on one line")
        return cls(
            created=clock().astimezone(UTC).replace(microsecond=0),
            auditor=auditor,
            policy_path=None if policy_path is None else str(policy_path),
            policy_sha256=None if policy_path is None else file_sha256(policy_path).hex(),
            engine_profile=engine_profile,
        )

    @property
    def created_text(self) -> str:
        """The time in RFC 3339 form."""
        return self.created.strftime("%Y-%m-%dT%H:%M:%SZ")

    def entries(self, context: Run) -> dict[str, Any]:
        """The identity as entries of the JSON report."""
        made_for = context.policy.made_for
        return {
            "format": REPORT_FORMAT,
            "weightwarden_version": __version__,
            "created": self.created_text,
            "auditor": self.auditor,
            "verdict": context.verdict,
            "inputs": [asdict(one) for one in context.given.inputs],
            "audit_digest": context.given.digest,
            "model": context.model_path,
            "model_digest": context.model_digest,
            "policy": {
                "path": self.policy_path,
                "sha256": self.policy_sha256,
                "digest": context.policy.digest(),
                "format": context.policy.format,
                **{
                    name: getattr(made_for, name)
                    for name in ("engine", "engine_version", "scheme", "replay", "dtype", "model_digest", "profile")
                },
            },
            "engine_profile": _entry(self.engine_profile),
            "environments": [asdict(one) for one in context.environments],
        }


def _entry(profile: EngineProfile | None) -> dict[str, Any] | None:
    return None if profile is None else {"digest": profile.digest(), "contents": profile.contents()}
