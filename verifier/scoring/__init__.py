"""Scores, verdicts and codes of tokens, and the token noise of honest replays.

Imports candidates, model, statistics.
"""
