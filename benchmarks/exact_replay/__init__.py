"""Exact replay on this processor, between servers that differ, and on altered answers."""
