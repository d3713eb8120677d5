"""Where the tests' files lie."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
EXAMPLES = ROOT / "examples"
BUNDLED_POLICY = ROOT / "cli" / "bundled" / "policy.toml"
