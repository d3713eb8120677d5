"""Rates, intervals and tests, each with its assumptions stated; all tested by simulation."""
