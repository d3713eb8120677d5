"""The base of the project's exceptions."""


class WeightwardenError(Exception):
    """Base of every error that weightwarden raises on purpose; the command line prints it and exits with code 2."""
