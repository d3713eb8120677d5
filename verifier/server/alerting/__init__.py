"""Conditions, incidents, and notices of incidents."""
