"""Several models in one verification server: each has a series of its own, in one database, and they share an audit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from weightwarden.logger.archive.storage import listed_url
from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.server.audit.turns import AuditTurns
from weightwarden.verifier.server.database.model_database import check_name, make_model_database
from weightwarden.verifier.server.errors import OtherSeries, ServerSettingsError
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.server.startup import ServerParts, open_server
from weightwarden.verifier.verification.on_demand import OnDemandExecutor, ResidentExecutors


class FleetModel(NamedTuple):
    """One model of a fleet: its settings, its executor, and its clock.

    `settings.database` is the database of the whole fleet.
    """

    settings: Settings
    executor: OnDemandExecutor
    clock: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The servers of several models, by the models' names, and the turns in which their records are audited."""

    servers: Mapping[str, ServerParts]
    turns: AuditTurns
    events: Events

    @property
    def settings(self) -> Settings:
        """The settings that all models share, such as the address."""
        return next(iter(self.servers.values())).settings


def open_fleet(
    models: Mapping[str, FleetModel],
    residents: ResidentExecutors,
    *,
    events: Events,
    sleep: Callable[[float], object] | None = None,
) -> Fleet:
    """Open the servers of several models, each in a part of its own of one database.

    Args:
        models: the models by name.
        sleep: waits after a batch, where the machine is shared; None: the other models are audited meanwhile.

    Raises:
        ServerSettingsError: a setting is invalid, or two models have a log or a folder of archives in common.
        KeyFileError: a key file is invalid.
        ArchiveUnreadable: no store has the URL of a folder of reports.
        VerdictsUnusable: the database cannot be opened.
        OtherSeries: the database holds other verdicts under a model's name.
    """
    settings = {model: one.settings for model, one in models.items()}
    require_apart(settings)
    turns = AuditTurns(residents=residents)
    servers: dict[str, ServerParts] = {}
    for model, one in models.items():
        own = replace(one.settings, database=make_model_database(one.settings.database, model), model=model)
        try:
            server = open_server(
                own,
                one.executor,
                clock=one.clock,
                sleep=sleep or partial(turns.rest, model),
                events=events.of(model=model),
            )
        except OtherSeries as error:
            raise OtherSeries(f"model {model}: {error}") from None
        turns.add(model, server.auditor, one.executor)
        servers[model] = server
    return Fleet(servers=servers, turns=turns, events=events)


def require_apart(settings: Mapping[str, Settings]) -> None:
    """Check that the models are apart: each log, and each folder of archives, belongs to one of them.

    Raises:
        ServerSettingsError: two models share one, a name cannot be used, or more than the whole machine is shared out.
        KeyFileError: a file of public keys is invalid.
    """
    if not settings:
        raise ServerSettingsError("no model is named")
    logs: dict[str, str] = {}
    folders: dict[str, str] = {}
    shares = 0.0
    for model, one in settings.items():
        check_name(model)
        for origin in sorted({key.name for key in PublicKeys.read(one.public_keys)}):
            if (other := logs.setdefault(origin, model)) != model:
                raise ServerSettingsError(
                    f"the log {printable(origin)} belongs to one model, and {other} and {model} both name its key"
                )
        for folder in map(listed_url, one.archives):
            if (other := folders.setdefault(folder, model)) != model:
                raise ServerSettingsError(
                    f"{printable(folder)}: a folder of archives belongs to one model, and {other} and {model} both"
                    " follow it"
                )
        shares += one.compute_share if one.audit_rate is None else 0.0
    if shares > 1 + 1e-9:
        raise ServerSettingsError(f"the models' shares of the machine's time add up to {shares:.3g}, more than 1")
