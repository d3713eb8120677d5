"""The plugin of vLLM that couples speculative decoding to the seeded draw."""
