"""Attackers who own the inference server: each with an encoder on the server and a decoder outside."""
