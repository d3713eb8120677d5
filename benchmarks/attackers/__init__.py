"""Attackers who own the inference server: each an encoder there and a decoder outside."""
