"""The command `verify serve`: the verification server."""

from weightwarden.cli.commands.serve.command import serve

__all__ = ["serve"]
