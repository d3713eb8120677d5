"""Simulated guarantees: coverage of limits, false alarms, noise bit for bit, random requests."""
