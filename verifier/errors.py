"""Errors of the verifier."""

from weightwarden.errors import WeightwardenError


class PolicyError(WeightwardenError, ValueError):
    """A policy file is malformed, or was made for another model, scheme or dtype."""


class CalibrationError(WeightwardenError, ValueError):
    """The traffic is insufficient, or unsuitable, for a policy."""


class ReplayError(WeightwardenError, ArithmeticError):
    """The replay produced no finite numbers (overflow in a narrow dtype, a broken model); it judges nothing."""


class UndefinedRow(ReplayError):
    """A row of logits from which no token can be drawn: no token is left, or a logit is no number."""


class ReplayServerError(WeightwardenError, ConnectionError):
    """A replay server cannot be reached, fails, or is not fit to replay; none of its answers was used for a verdict."""


class RequestRefused(ReplayServerError):
    """A replay server refused a request; a retry does not help."""


class ReplayServerEnded(ReplayServerError):
    """A replay server that was started here ended during a request."""


class UnusableAnswer(WeightwardenError, ValueError):
    """An answer of a server that cannot become a record; the message tells the reason."""
