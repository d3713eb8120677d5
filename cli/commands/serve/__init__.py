"""`verify serve`: the verification server."""

from cli.commands.serve.command import serve

__all__ = ["serve"]
