"""Speculative decoding whose acceptance is coupled to the seeded draw, on vLLM's own kernels."""
