"""`verify serve`: the verification server."""

from cli.serve.command import serve

__all__ = ["serve"]
