"""Files of the repository that benchmarks and tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
FILTERED = DATA / "smollm2-vllm0.32-t1.0-p0.95-k50.jsonl"
CONSTRAINED = DATA / "smollm2-vllm0.32-grammars.jsonl"
BUNDLED_POLICY = ROOT / "cli" / "bundled" / "policy.toml"
