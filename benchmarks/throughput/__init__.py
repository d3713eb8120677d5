"""Tokens a second of replay and verification: on a CPU, on a GPU, over a cluster."""
