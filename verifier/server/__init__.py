"""The verification server: follows archives, audits a random sample of their records, watches, and raises the alarm.

Imports model, policy, scoring, statistics, verification.
"""
