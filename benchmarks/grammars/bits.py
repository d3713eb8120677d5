"""Bits that answers could carry unseen, with and without grammars, by independent replay.

    python -m benchmarks.grammars.bits --records FOLDER --out results

FOLDER holds grammars.jsonl and plain.jsonl of `benchmarks.recording.grammars`: the same requests with and without
grammars. A policy is calibrated on the answers of both kinds to some questions; the answers to the other questions are
judged. One policy for both kinds, so that only the grammars differ. With --policy a policy that exists judges all
answers instead: it must not be made from them.
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
from weightwarden.verifier.verification.judgement import Judgement
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


def row_of(
    kind: str, records: Sequence[Record], judged: Judgement, places: Sequence[int], matchers: GrammarMatchers
) -> GrammarBitsRow:
    """The row of some of the judged records, by their places."""
    records, verdicts = [records[at] for at in places], [judged.records[at] for at in places]
    charges = judged.charges.take(np.array(places))
    tokens = int(charges.tokens_r.sum())
    sizes = np.concatenate([verdict.tokens.admissible for verdict in verdicts])
    return GrammarBitsRow(
        kind=kind,
        answers=len(records),
        tokens=tokens,
        mismatch_share=float(charges.mismatches_r.sum() / tokens),
        suspicious=int(charges.suspicious_r.sum()),
        dangerous=int(charges.dangerous_r.sum()),
        flagged=sum(verdict.flagged for verdict in verdicts),
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
@click.option("--policy", "given", type=click.Path(path_type=Path, exists=True), help="Of other answers.")
def main(folder: Path, out: Path, given: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    identity = identify_model(ensure_embedded_model())
    pair = [[placed.record for placed in read_traffic(folder / name)] for name in ("grammars.jsonl", "plain.jsonl")]
    fitting, judging = halves(pair[0])
    if given is not None:
        fitting, judging = [], [*range(len(pair[0]))]
    replayer, matchers = TransformersReplayer.load(identity), GrammarMatchers(identity)
    policy = _policy(
        given or out / "grammar-bits-policy.toml", replayer, [series[at] for series in pair for at in fitting]
    )
    pair = [[series[at] for at in judging] for series in pair]
    groups: dict[str, list[int]] = {}
    for at, record in enumerate(pair[0]):
        assert record.grammar is not None
        groups.setdefault(_GROUPS[record.grammar.text], []).append(at)
    everything = [*groups.items(), ("all", [*range(len(pair[0]))])]
    rows = {}
    for series, words in zip(pair, ("with", "without"), strict=True):
        tokens = sum(len(record.output_token_ids) for record in series)
        with progress_bar(tokens, f"Judging {words} grammars") as progress:
            judged = Verifier(replayer, policy, progress=progress).judge(series)
        for kind, places in everything:
            rows[kind, words] = row_of(f"{kind}, {words}", series, judged, places, matchers)
    ordered = [rows[kind, words] for kind, _ in everything for words in ("with", "without")]
    settings: Settings = {"policy": policy.digest(), "calibration_answers": 2 * len(fitting)}
    GRAMMAR_BITS.write(out, "grammar-bits", Results[GrammarBitsRow].measured(ordered, settings))
    click.echo(GRAMMAR_BITS.markdown(ordered))


if __name__ == "__main__":
    main()
