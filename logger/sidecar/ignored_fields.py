"""Report of fields that clients send and that are not known here: few names, of checked characters."""

import re
from collections.abc import Set
from itertools import islice

from weightwarden.logger.serving.event_log import Events
from weightwarden.logger.sidecar.metrics import Metrics

MAX_NAMES = 32
"""Largest number of names that are reported in a run."""
_LOOKED_AT = 128
"""Names of one request that are looked at. A large body could have ten thousands."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}", re.ASCII)


class IgnoredFields:
    """Report of ignored fields: a count of all, and each name once in a run.

    The names are the clients' text. At most `MAX_NAMES` of them are said, and only those of a field's form: letters,
    digits and underscores.
    """

    def __init__(self, events: Events, metrics: Metrics) -> None:
        self._events, self._metrics = events, metrics
        self._named: set[str] = set()

    def report(self, names: Set[str]) -> None:
        """Report the fields of one request."""
        self._metrics.ignored_fields.inc(len(names))
        for name in sorted(islice(names, _LOOKED_AT)):
            if len(self._named) < MAX_NAMES and name not in self._named and _NAME.fullmatch(name):
                self._named.add(name)
                self._events.say("field ignored", name=name)
