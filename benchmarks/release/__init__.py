"""Paced release: the bits of its moments, and what it costs the client, on traffic with realistic jitter."""
