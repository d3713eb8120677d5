"""The taps, for JSON."""

from sqlalchemy import Connection

from weightwarden.verifier.server.alerting.taps import Tap, taps_now
from weightwarden.verifier.server.api.models import EgressStatus, TapStatus
from weightwarden.verifier.server.settings import Settings


def egress_of(connection: Connection, settings: Settings, now: float) -> EgressStatus:
    """The followed taps as they are now."""
    taps = taps_now(connection, settings.egress_reports, settings.egress_stale_after, now)
    return EgressStatus(stale_after_seconds=settings.egress_stale_after, taps=[_tap(tap) for tap in taps])


def _tap(tap: Tap) -> TapStatus:
    newest = tap.newest
    return TapStatus(
        folder=tap.folder,
        state=tap.state,
        origin=None if newest is None else newest["origin"],
        begins_at=None if newest is None else newest["first_time"],
        ends_at=None if newest is None else newest["last_time"],
        read_at=None if newest is None else newest["read"],
        frames=None if newest is None else newest["frames"],
        what=None if newest is None else newest["what"],
        unexplained_frames=tap.unexplained_frames,
        unexplained_bytes=tap.unexplained_bytes,
        refused=tap.refused,
    )
