"""Verification of records: the verifier, verdicts, bounds of a run, work units and who replays them.

Imports candidates, model, policy, replay, scoring, statistics.
"""
