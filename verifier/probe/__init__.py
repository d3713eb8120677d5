"""The probe: a few seeded requests that show by which scheme a server samples.

Imports candidates, logits, provider, replay, scoring.
"""
