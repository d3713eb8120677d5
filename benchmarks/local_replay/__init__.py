"""Throughput of replay with vLLM's engine in this process."""
