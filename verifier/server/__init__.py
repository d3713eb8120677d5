"""The verification server: follows archives, audits a random sample of their records, and raises the alarm.

Imports egress, model, policy, scoring, statistics, verification.
"""
