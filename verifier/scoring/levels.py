"""Significance levels of flagged records and of alarms."""

FLAG_LEVEL = 1e-3
"""Level of a flag: the share of honest records, at most, that look like a flagged record."""
RUN_ALARM_LEVEL = 1e-4
"""Level of an alarm: the probability, at most, that an honest run shows as much."""
