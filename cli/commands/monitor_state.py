"""State file of `verify monitor`, which keeps a series between calls."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightwarden.cli.commands.monitor_limit import StoredLimit
from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.output import write_text
from weightwarden.sampler.validation_message import validation_message
from weightwarden.verifier.statistics.e_process import STAKES, RateEProcess
from weightwarden.verifier.verification.series_limit import SeriesLimit
from weightwarden.verifier.verification.series_monitor import WATCHED, SeriesMonitor

FORMAT = "weightwarden-monitor/2"
MAX_STATE_BYTES = 64 * 2**20


@dataclass
class AuditSeries:
    """A series of audits.

    Attributes:
        monitor: the alarm over the series.
        limit: upper limit of the bits of all its records, audited or not.
        seen: digests of the audits in it.
    """

    monitor: SeriesMonitor
    limit: SeriesLimit
    seen: list[str]


class StateError(WeightwardenError, ValueError):
    """A monitor's state file that cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Monitor(_Part):
    honest_rate: Annotated[float, Field(gt=0)]
    most_per_token: Annotated[float, Field(gt=0)]
    longest: Annotated[float, Field(ge=1)]
    records: Annotated[int, Field(ge=0)]
    tokens: Annotated[float, Field(ge=0)]
    value: Annotated[float, Field(ge=0)]
    log_capital_k: Annotated[list[float], Field(min_length=STAKES, max_length=STAKES)]
    log_best: Annotated[float, Field(ge=0)]


class _State(_Part):
    format: str
    policy_digest: str
    log_best: Annotated[float, Field(ge=0)]
    monitors: dict[str, _Monitor]
    limit: StoredLimit
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
        "monitors": {
            name: {
                f.name: value.tolist() if isinstance(value := getattr(rate, f.name), np.ndarray) else value
                for f in fields(rate)
            }
            for name, rate in series.monitor.monitors.items()
        },
        "limit": series.limit.to_dict(),
        "seen": series.seen,
    }
    write_text(path, json.dumps(state, indent=1, allow_nan=False) + "\n")


def read_state(path: Path) -> AuditSeries:
    """The series that `write_state` wrote.

    Raises:
        StateError: the file is unreadable, or holds no state of this version; names the file and the field.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_STATE_BYTES + 1)
        state = _State.model_validate(json.loads(content))
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise StateError(f"{path}: {validation_message(error)}") from None
    except (ValueError, RecursionError):
        raise StateError(f"{path}: no JSON") from None
    if state.format != FORMAT or sorted(state.monitors) != sorted(WATCHED):
        raise StateError(f"{path}: not a state of this version ({FORMAT})")
    monitors = {}
    for name in WATCHED:
        kept = state.monitors[name].model_dump()
        kept["log_capital_k"] = np.array(kept["log_capital_k"])
        monitors[name] = RateEProcess(**kept)
    return AuditSeries(
        SeriesMonitor(state.policy_digest, monitors, state.log_best), state.limit.series(), list(state.seen)
    )
