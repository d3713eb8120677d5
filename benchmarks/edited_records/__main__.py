"""Detection of simulated attackers among honest traffic under a policy.

Prints, for each attacker, the number of tampered records that are flagged, and of honest ones.
"""

import platform
from pathlib import Path

import click
import numpy as np
import torch
import transformers

from benchmarks.edited_records.edits import ATTACKS
from weightwarden.cli.options.replayer import identity_of
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier


@click.command()
@click.argument("traffic", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), required=True)
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--seed", default=0, show_default=True)
@click.option("--each", default=40, show_default=True, help="Tampered records for each attacker and file.")
def main(traffic: tuple[Path, ...], policy_path: Path, model_name: str | None, seed: int, each: int) -> None:
    policy = read_policy(policy_path)
    replayer = TransformersReplayer.load(identity_of(model_name), dtype=policy.made_for.dtype)
    verifier = Verifier(replayer, policy)
    vocabulary = replayer.identity.vocabulary
    machine = platform.processor() or platform.machine()
    print(f"seed {seed}; {machine}, torch {torch.__version__}, transformers {transformers.__version__}")
    for path in traffic:
        records = [placed.record for placed in read_traffic(path)]
        found = verifier.verify(records)
        print(
            f"\n{path.name}: honest {len(found.flagged)} of {len(records)} flagged,"
            f" verdict {'alarm' if found.alarm else 'clear'}"
        )
        for name, attack in ATTACKS.items():
            rng = np.random.default_rng(seed)
            victims = _victims(records, name, rng, each)
            if not victims:
                print(f"  {name:<30} (no record here that it changes)")
                continue
            tampered = verifier.verify([attack(record, vocabulary, rng) for record in victims])
            print(
                f"  {name:<30} {len(tampered.flagged):4d} of {len(victims):4d} flagged,"
                f" verdict {'alarm' if tampered.alarm else 'clear'}"
            )


def _victims(records: list[Record], attack: str, rng: np.random.Generator, count: int) -> list[Record]:
    """Records that the attack changes: long enough, and drawn from a seed if the attack concerns the seed."""
    fit = [r for r in records if len(r.output_token_ids) > 10 and not (attack == "wrong seed" and r.sampling.is_greedy)]
    return [fit[int(i)] for i in rng.permutation(len(fit))[:count]]


if __name__ == "__main__":
    main()
