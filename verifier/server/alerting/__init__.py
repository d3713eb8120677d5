"""Conditions, incidents, and their delivery to people. Imports accounting, database, ingest."""
