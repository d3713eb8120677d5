"""Significance levels of flagged records and of alarms."""

FLAG_LEVEL = 1e-3
"""Largest share of honest records that are flagged by one test."""
RUN_ALARM_LEVEL = 1e-4
"""Largest probability of an alarm in an honest run."""
