"""Files of the repository that benchmarks read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "data"
FILTERED = RECORDED / "smollm2-vllm0.32-t1.0-p0.95-k50.jsonl"
BUNDLED_POLICY = ROOT / "cli" / "bundled" / "policy.toml"
