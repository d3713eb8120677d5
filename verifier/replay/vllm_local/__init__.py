"""Replay with vLLM's engine in this process."""
