"""Levels of significance: how seldom an honest record, and an honest run, is accused."""

FLAG_LEVEL = 1e-3
"""A record is flagged when at most this share of honest records would look like it."""
RUN_ALARM_LEVEL = 1e-4
"""A run is an alarm when an honest run would show as much with at most this probability."""
