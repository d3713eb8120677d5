"""Conditions, incidents, and their delivery to people."""
