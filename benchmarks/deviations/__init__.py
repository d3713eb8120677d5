"""Servers that deviate from what was requested: how strongly the audit sees them, and how soon it says so."""
