"""Calibration: a policy from honest records, and its figures on held-out records.

Imports candidates, policy, replay, scoring, statistics.
"""
