"""Errors of bundles."""

from weightwarden.errors import WeightwardenError


class BundleError(WeightwardenError, ValueError):
    """Bytes that are no bundle, or a bundle whose members do not fit together."""
