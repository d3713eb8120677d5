"""Policies: thresholds and honest rates, calibrated or exact, and their file format.

Imports candidates, model, scoring.
"""
