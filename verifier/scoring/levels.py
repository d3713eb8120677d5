"""Significance levels of flagged records and of alarms."""

FLAG_LEVEL = 1e-3
"""Largest share of honest records that look like a flagged record."""
RUN_ALARM_LEVEL = 1e-4
"""Largest probability that an honest run shows as much as an alarm."""
