"""Errors of grammars."""

from weightwarden.errors import WeightwardenError


class GrammarRefused(WeightwardenError, ValueError):
    """A grammar that cannot be used: invalid, too large, or too costly. The message is for its author."""
