"""Costs of the log and of the verdict database."""
