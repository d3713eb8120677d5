"""Clients of foreign OpenAI-compatible servers, and records made of their answers."""
