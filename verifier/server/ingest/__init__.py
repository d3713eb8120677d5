"""Archives on their way in: found, checked, followed or quarantined, their records selected for audit.

Imports audit, database.
"""
