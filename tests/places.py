"""Where the tests' files lie."""

from benchmarks.repository import BUNDLED_POLICY, DATA, ROOT

__all__ = ["BUNDLED_POLICY", "DATA", "EXAMPLES", "ROOT"]

EXAMPLES = ROOT / "examples"
