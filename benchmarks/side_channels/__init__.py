"""Channels beside the tokens: text spelling, timing, order."""
