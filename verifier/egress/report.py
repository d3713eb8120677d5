"""The report of an account: its JSON form (`verify schema egress`)."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

EGRESS_FORMAT: Literal["weightwarden-egress/1"] = "weightwarden-egress/1"
Count = Annotated[int, Field(ge=0, le=2**63)]
Verdict = Literal["clear", "watch", "unexplained"]
Part = Literal["explained", "undecided", "unexplained"]
PARTS: tuple[Part, ...] = ("explained", "undecided", "unexplained")


class _Part(BaseModel):
    """A part of a report."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class CaptureSummary(_Part):
    """A capture file: its whole frames, and whether it ended within a frame."""

    file: str
    frames: Count
    unfinished: bool


class FrameClass(_Part):
    """Frames of one class; `example` is the place of the first one."""

    name: str
    frames: Count
    bytes: Count
    example: str


class UnexplainedFrames(FrameClass):
    """Frames that nothing explains; `bits` is eight times their bytes: the most that they can carry."""

    bits: Count


class Exchanges(_Part):
    """The sidecar's exchanges, in bytes of the responses.

    `dropped_bytes` are the bytes of explained responses besides the token ids that the log has: the sidecar drops them.
    `cut_tokens` are token ids that the sidecar cut off. `open` exchanges had not ended when the captures did.
    """

    completions: Count
    failed_attempts: Count
    readiness: Count
    open: Count
    response_bytes: Count
    dropped_bytes: Count
    logged_tokens: Count
    cut_tokens: Count


class LoggedRecords(_Part):
    """Records of the log, and those that no capture showed.

    `origin` names the log; it is missing without records. `unseen_between` lie between the first and the last one that
    was shown, `unseen_outside` before or after these.
    """

    origin: str | None
    records: Count
    unseen_between: Count
    unseen_outside: Count
    unseen_example: Count | None


class CaptureLoss(_Part):
    """Frames or bytes that the captures lack."""

    what: str
    count: Count
    unit: Literal["frames", "bytes"]
    example: str


class HeartbeatReport(_Part):
    """The heartbeats. `gaps` are times without one that were too long; `longest_seconds` is the longest time at all."""

    declared_seconds: float | None
    count: Count
    gaps: Count
    longest_seconds: Annotated[float, Field(ge=0)]


class EgressReport(_Part):
    """The account of a link."""

    format: Literal["weightwarden-egress/1"] = EGRESS_FORMAT
    verdict: Verdict
    captures: list[CaptureSummary]
    first_time: float | None
    last_time: float | None
    frames: Count
    bytes: Count
    explained: list[FrameClass]
    undecided: list[FrameClass]
    unexplained: list[UnexplainedFrames]
    exchanges: Exchanges
    log: LoggedRecords
    losses: list[CaptureLoss]
    heartbeats: HeartbeatReport
    findings: list[str]
    notes: list[str]

    def total(self, part: Part) -> tuple[int, int]:
        """Frames and bytes of all classes of a part."""
        classes: list[FrameClass] = list(getattr(self, part))
        return sum(one.frames for one in classes), sum(one.bytes for one in classes)
