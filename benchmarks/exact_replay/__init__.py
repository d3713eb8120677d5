"""Exact replay on this processor, between different servers, and of altered answers."""
