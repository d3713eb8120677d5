"""Replay on a GPU: models of random weights, traffic that they drew themselves, and what scoring it costs."""
