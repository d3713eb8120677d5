"""The probe: the sampling scheme of a server, found by a few seeded requests.

Imports candidates, logits, provider, replay.
"""
