"""Conditions, incidents, and notices of incidents. Imports accounting, database, ingest."""
