"""Intake: archives found, checked, followed or quarantined, their records selected for audit; reports of taps read.

Imports audit, database.
"""
