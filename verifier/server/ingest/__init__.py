"""Intake of archives: found, checked, followed or quarantined, and their records selected for audit.

Imports audit, database.
"""
