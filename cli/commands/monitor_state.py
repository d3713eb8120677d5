"""State file of `verify monitor`, which keeps a series between calls."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weightwarden.cli.commands.monitor_limit import StoredLimit
from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.output import write_text
from weightwarden.sampler.params import refusal
from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import printable
from weightwarden.verifier.statistics.conditional_e_process import CAPS, ConditionalEProcess
from weightwarden.verifier.statistics.e_process import STAKES, RateEProcess
from weightwarden.verifier.verification.series_limit import SeriesLimit
from weightwarden.verifier.verification.series_monitor import WATCHED, SeriesMonitor
from weightwarden.verifier.verification.series_timing import SeriesTiming

FORMAT = "weightwarden-monitor/2"
MAX_STATE_BYTES = 64 * 2**20


@dataclass
class AuditSeries:
    """A series of audits.

    Attributes:
        monitor: the alarm over the series.
        limit: upper limit of the bits of all its records, audited or not.
        timing: charge of the moments at which their answers left.
        seen: digests of the audits in it.
    """

    monitor: SeriesMonitor
    limit: SeriesLimit
    timing: SeriesTiming
    seen: list[str]


class StateError(WeightwardenError, ValueError):
    """A monitor's state file that cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Monitor(_Part):
    honest_rate: Annotated[float, Field(gt=0)]
    most_per_token: Annotated[float, Field(gt=0)]
    weight_limits: Annotated[list[Annotated[float, Field(ge=1)]], Field(min_length=1, max_length=32)]
    records: Annotated[int, Field(ge=0)]
    tokens: Annotated[float, Field(ge=0)]
    value: Annotated[float, Field(ge=0)]
    log_capital_lk: list[Annotated[list[float], Field(min_length=STAKES, max_length=STAKES)]]
    log_best: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _one_row_a_limit(self) -> Self:
        if len(self.log_capital_lk) != len(self.weight_limits):
            raise refusal("capital", "log_capital_lk", "needs one row for each of weight_limits")
        return self


class _Conditional(_Part):
    contamination: Annotated[float, Field(ge=0, lt=1)]
    records: Annotated[int, Field(ge=0)]
    log_capital_ck: Annotated[
        list[Annotated[list[float], Field(min_length=1)]], Field(min_length=len(CAPS), max_length=len(CAPS))
    ]
    log_best: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _one_entry_a_bet(self) -> Self:
        if len({len(row) for row in self.log_capital_ck}) != 1:
            raise refusal("capital", "log_capital_ck", "rows of different lengths")
        return self


class _Timing(_Part):
    records: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)]
    bits: Annotated[float, Field(ge=0)]
    open_records: Annotated[int, Field(ge=0)]


class _State(_Part):
    format: str
    policy_digest: str
    log_best: Annotated[float, Field(ge=0)]
    conditional: _Conditional
    monitors: dict[str, _Monitor]
    limit: StoredLimit
    timing: _Timing
    seen: list[str]


def write_state(path: Path, series: AuditSeries) -> None:
    """Write a series whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    state = {
        "format": FORMAT,
        "policy_digest": series.monitor.policy_digest,
        "log_best": series.monitor.log_best,
        "conditional": _plain(series.monitor.conditional),
        "monitors": {name: _plain(rate) for name, rate in series.monitor.monitors.items()},
        "limit": series.limit.to_dict(),
        "timing": asdict(series.timing),
        "seen": series.seen,
    }
    write_text(path, json.dumps(state, indent=1, allow_nan=False) + "\n")


def _plain(process: RateEProcess | ConditionalEProcess) -> dict[str, Any]:
    """The fields of an e-process as JSON."""
    values = {f.name: getattr(process, f.name) for f in fields(process)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def read_state(path: Path) -> AuditSeries:
    """The series that `write_state` wrote.

    Raises:
        StateError: the file is unreadable, or holds no state of this version; names the file and the field.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_STATE_BYTES + 1)
        parsed = json.loads(content)
        _check_format(parsed, path)
        state = _State.model_validate(parsed)
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise StateError(f"{path}: {validation_message(error)}") from None
    except StateError:
        raise
    except (ValueError, RecursionError):
        raise StateError(f"{path}: no JSON") from None
    if sorted(state.monitors) != sorted(WATCHED):
        raise StateError(f"{path}: not a state of this version ({FORMAT})")
    monitors = {}
    for name in WATCHED:
        kept = state.monitors[name].model_dump()
        kept["log_capital_lk"] = np.array(kept["log_capital_lk"])
        monitors[name] = RateEProcess(**kept | {"weight_limits": tuple(kept["weight_limits"])})
    kept = state.conditional.model_dump()
    conditional = ConditionalEProcess(**kept | {"log_capital_ck": np.array(kept["log_capital_ck"])})
    monitor = SeriesMonitor(state.policy_digest, conditional, monitors, state.log_best)
    return AuditSeries(monitor, state.limit.series(), SeriesTiming(**state.timing.model_dump()), list(state.seen))


def _check_format(parsed: object, path: Path) -> None:
    """Check that a file holds a state of this version.

    Raises:
        StateError: it does not.
    """
    said = parsed.get("format") if isinstance(parsed, dict) else None
    if said == FORMAT:
        return
    if isinstance(said, str) and said.startswith("weightwarden-monitor/"):
        raise StateError(
            f"{path}: format: a state of another version ({printable(said)[:40]}, not {FORMAT}): begin a new series"
        )
    raise StateError(f"{path}: not a state of this version ({FORMAT})")
