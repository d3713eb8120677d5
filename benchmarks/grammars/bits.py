"""Bits that answers could carry unseen, with and without grammars, by independent replay.

    python -m benchmarks.grammars.bits --records FOLDER --out results

FOLDER holds grammars.jsonl and plain.jsonl of `benchmarks.recording.grammars`: the same requests with and without
grammars. A policy is calibrated on the answers of both kinds to some questions; the answers to the other questions are
judged. One policy for both kinds, so that only the grammars differ.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.grammars.examples import EXAMPLES
from benchmarks.grammars.matchers import GrammarMatchers
from benchmarks.results.file import Results, Settings
from benchmarks.results.tables.grammar_bits import GRAMMAR_BITS, GrammarBitsRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

_GROUPS = {example.text: example.group for example in EXAMPLES}


def halves(records: Sequence[Record]) -> tuple[list[int], list[int]]:
    """Places of the records that calibrate, and of those that are judged: no prompt is in both."""
    prompts = list(dict.fromkeys(tuple(record.prompt_token_ids) for record in records))
    place = {prompt: at for at, prompt in enumerate(prompts)}
    parts: tuple[list[int], list[int]] = ([], [])
    for at, record in enumerate(records):
        parts[place[tuple(record.prompt_token_ids)] % 2].append(at)
    return parts


def row_of(verifier: Verifier, kind: str, records: Sequence[Record], matchers: GrammarMatchers) -> GrammarBitsRow:
    """The row of some answers."""
    judged = verifier.judge(records)
    charges = judged.charges
    tokens = int(charges.tokens_r.sum())
    sizes = np.concatenate([record.tokens.admissible for record in judged.records])
    return GrammarBitsRow(
        kind=kind,
        answers=len(records),
        tokens=tokens,
        mismatch_share=float(charges.mismatches_r.sum() / tokens),
        suspicious=int(charges.suspicious_r.sum()),
        dangerous=int(charges.dangerous_r.sum()),
        flagged=sum(record.flagged for record in judged.records),
        admissible_mean=float(sizes.mean()),
        one_admissible_share=float((sizes == 1).mean()),
        forced_share=_forced_share(records, matchers),
        counting_bits_per_token=float(charges.counting_bits_r.sum() / tokens),
        pooled_bits_per_token=float(charges.pooled_bits_r.sum() / tokens),
        pooled_bits_per_answer=float((charges.pooled_bits_r.sum() + charges.end_bits_r.sum()) / len(records)),
    )


def _forced_share(records: Sequence[Record], matchers: GrammarMatchers) -> float | None:
    allowed = [
        matchers.allowed_count(record.grammar, record.output_token_ids)
        for record in records
        if record.grammar is not None
    ]
    return float((np.concatenate(allowed) == 1).mean()) if allowed else None


def _policy(path: Path, replayer: TransformersReplayer, records: Sequence[Record]) -> Policy:
    if not path.exists():
        with progress_bar(sum(len(record.output_token_ids) for record in records), "Calibration") as progress:
            write_text(path, calibrate(replayer, records, CalibrationLimits(), progress=progress).policy.to_toml())
    policy = read_policy(path)
    assert isinstance(policy, Policy)
    return policy


@click.command(help=__doc__)
@click.option("--records", "folder", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of results; made when new.")
def main(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    identity = identify_model(ensure_embedded_model())
    constrained, plain = (
        [placed.record for placed in read_traffic(folder / name)] for name in ("grammars.jsonl", "plain.jsonl")
    )
    fitting, judging = halves(constrained)
    replayer, matchers = TransformersReplayer.load(identity), GrammarMatchers(identity)
    policy = _policy(
        out / "grammar-bits-policy.toml", replayer, [series[at] for series in (constrained, plain) for at in fitting]
    )
    verifier = Verifier(replayer, policy)
    groups: dict[str, list[int]] = {}
    for at in judging:
        grammar = constrained[at].grammar
        assert grammar is not None
        groups.setdefault(_GROUPS[grammar.text], []).append(at)
    rows = []
    for kind, places in [*groups.items(), ("all", judging)]:
        for series, words in ((constrained, "with"), (plain, "without")):
            rows.append(row_of(verifier, f"{kind}, {words}", [series[at] for at in places], matchers))
            click.echo(GRAMMAR_BITS.line(rows[-1]))
    settings: Settings = {"policy": policy.digest(), "calibration_answers": 2 * len(fitting)}
    GRAMMAR_BITS.write(out, "grammar-bits", Results[GrammarBitsRow].measured(rows, settings))


if __name__ == "__main__":
    main()
