"""Verification of records: work units and their executors, verdicts of tokens, records and runs, and bounds of a run.

Imports every room but `server`, `calibration` and `probe`.
"""
