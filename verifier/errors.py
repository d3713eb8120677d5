"""Errors of the verifier."""

from weightwarden.errors import WeightwardenError


class PolicyError(WeightwardenError, ValueError):
    """A policy file is malformed, or was made for another model, scheme or dtype."""


class CalibrationError(WeightwardenError, ValueError):
    """The traffic does not suffice, or does not fit, for a policy."""


class MissingExtra(WeightwardenError, ImportError):
    """An optional dependency is not installed; the message says what to install."""


class ReplayError(WeightwardenError, ArithmeticError):
    """The replay did not come to numbers (overflow in a narrow dtype, a broken model); nothing can be judged by it."""


class UndefinedRow(ReplayError):
    """A row of logits that no token can be drawn from: none is left, or one is no number."""


class ReplayServerError(WeightwardenError, ConnectionError):
    """A replay server cannot be reached, fails, or is not fit to replay; nothing was judged by what it said."""


class RequestRefused(ReplayServerError):
    """A replay server answered that it will not do what it was asked to; asking again does not help."""


class ReplayServerEnded(ReplayServerError):
    """A replay server that was started here has ended while it was asked."""


class UnusableAnswer(WeightwardenError, ValueError):
    """An answer of a server from which no record can be made; the message says why."""
