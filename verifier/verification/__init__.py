"""Verification of records: the verifier, verdicts, bounds of a run, work units and who replays them.

Imports every room but `server`, `calibration` and `probe`.
"""
