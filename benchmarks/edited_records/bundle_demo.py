"""Make the traffic of `verify demo`: honest and tampered traffic from the records that did not choose the policy.

verify calibrate tests/data/smollm2-vllm0.32-t1.0-p0.95-k50.jsonl --out cli/bundled/policy.toml
python -m benchmarks.edited_records.bundle_demo
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.edited_records.edits import ATTACKS
from benchmarks.repository import BUNDLED_POLICY, DATA
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.traffic import split_halves
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy

CALIBRATED_ON = "smollm2-vllm0.32-t1.0-p0.95-k50.jsonl"
OTHERS = ("smollm2-vllm0.32-greedy.jsonl", "smollm2-vllm0.32-t1.0-unfiltered.jsonl")
OUT = BUNDLED_POLICY.parent
VOCABULARY = 49152
HONEST_EACH = 10
SEED = 20


def main() -> None:
    """Write honest.jsonl, tampered.jsonl and attacks.json."""
    policy = read_policy(OUT / "policy.toml")
    if not isinstance(policy, Policy):
        raise PolicyError(f"{OUT / 'policy.toml'}: not a calibrated policy")
    split_seed = policy.calibration.split_seed
    records = [placed.record for placed in read_traffic(DATA / CALIBRATED_ON)]
    unseen = [records[i] for i in np.flatnonzero(~split_halves(records, split_seed))]
    others = [[placed.record for placed in read_traffic(DATA / name)] for name in OTHERS]
    honest = [*unseen[:HONEST_EACH], *(record for group in others for record in group[:HONEST_EACH])]
    rng = np.random.default_rng(SEED)
    victims = unseen[HONEST_EACH : HONEST_EACH + len(ATTACKS)]
    tampered = [attack(r, VOCABULARY, rng) for r, attack in zip(victims, ATTACKS.values(), strict=True)]
    _write(OUT / "honest.jsonl", honest)
    _write(OUT / "tampered.jsonl", tampered)
    (OUT / "attacks.json").write_text(json.dumps(list(ATTACKS), indent=2) + "\n", encoding="utf-8")


def _write(path: Path, records: list[Record]) -> None:
    lines = (record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
