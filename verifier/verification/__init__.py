"""Verification of records: work units and their executors, verdicts of tokens, records and runs, and bounds of a run.

Imports candidates, model, policy, replay, scoring, statistics.
"""
