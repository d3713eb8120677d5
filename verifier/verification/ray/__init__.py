"""Verification on a Ray cluster."""
