"""Replay on a GPU: models with random weights, traffic drawn by them, and the cost of scoring it."""
