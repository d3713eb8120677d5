"""Spans of time on the command line."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Span(NamedTuple):
    """A span of time: Unix times in milliseconds. It holds `since`, not `until`; None: it has no end."""

    since: int
    until: int | None


class TimeSpan(click.ParamType[Span]):
    """A span of time: FROM, FROM/TO or FROM/DURATION, e.g. 2026-07-01T10:15Z/5m. Times are ISO 8601."""

    name = "time span"

    def convert(self, value: str | Span, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """The span."""
        if isinstance(value, Span):
            return value
        first, slash, second = value.partition("/")
        since = self._time(first, param, ctx)
        if not slash:
            return Span(_milliseconds(since), None)
        try:
            until = since + duration if (duration := _duration(second)) is not None else self._time(second, param, ctx)
        except OverflowError:
            self.fail(f"{second!r} ends beyond the year 9999", param, ctx)
        if until <= since:
            self.fail(f"{value!r} ends before it begins, or at once", param, ctx)
        return Span(_milliseconds(since), _milliseconds(until))

    def _time(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no ISO 8601 time, e.g. 2026-07-01T10:15:30Z; a duration is a number and s, m, h or d",
                param,
                ctx,
            )
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta | None:
    """A duration such as 90s, 5m, 2h or 1d, or None."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    return None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


def _milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MILLISECOND


def time_text(milliseconds: int) -> str:
    """A Unix time in milliseconds as ISO 8601 in UTC. A time beyond the calendar stays a number."""
    try:
        time = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
