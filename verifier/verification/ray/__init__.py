"""Verification on a cluster with Ray."""
