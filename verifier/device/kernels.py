"""Triton kernels of the reduction; where Triton is missing, torch does the same more slowly."""

import importlib.util


def has_kernels() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None
