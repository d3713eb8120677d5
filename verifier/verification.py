"""Verification of records under a policy: from claimed answers to verdicts, with the evidence for each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from logger.record import Record
from sampler.errors import WeightwardenError
from sampler.types import FloatArray, IntArray
from verifier.errors import PolicyError
from verifier.ledger import Ledger, RecordCharges
from verifier.policy_base import BasePolicy, Evidence
from verifier.record_test import run_p_value
from verifier.replay import Replay, Replayer, Timing
from verifier.score import score
from verifier.stopping import StopFinding, StoppingRule
from verifier.token_noise import HONEST_RECORD_RATE
from verifier.tradeoff import TradeOff, TradeOffPoint
from verifier.verdict import Verdict, judge_tokens

RUN_ALARM_RATE = 1e-4
"""A run is an alarm when an honest run would show as much with at most this probability."""


class NothingToVerify(WeightwardenError, ValueError):
    """There is no record to verify, which is not the same as a clear result."""


@dataclass(frozen=True, kw_only=True)
class TokenDetail:
    """Scores and verdicts of one record's tokens, one entry an output position (`TokenScores`, `TokenVerdicts`).

    `likelihood_score` is GM-LS, or IPT-LS for inverse-cdf, in nats, larger is more plausible; nan in exact replay.
    """

    margin: FloatArray
    exact: NDArray[np.bool_]
    logit_rank: IntArray
    gumbel_rank: IntArray
    admissible: IntArray
    unseen: IntArray
    verdict: NDArray[np.int8]
    charged_bits: FloatArray
    likelihood_score: FloatArray

    @staticmethod
    def joined(parts: "list[tuple[IntArray, TokenDetail]]") -> "TokenDetail":
        """One record's details from pieces, each with the output positions that it covers.

        Raises:
            ValueError: a position is missing or there twice: a replay that skips tokens is not a verification.
        """
        positions = np.concatenate([at for at, _ in parts])
        order = np.argsort(positions)
        if not np.array_equal(positions[order], np.arange(len(order))):
            raise ValueError("the replay did not cover every output position once")
        return TokenDetail(
            **{f.name: np.concatenate([getattr(part, f.name) for _, part in parts])[order] for f in fields(TokenDetail)}
        )

    @staticmethod
    def of_none() -> "TokenDetail":
        """The details of a record without tokens."""
        types = {"exact": np.bool_, "margin": np.float64, "charged_bits": np.float64, "likelihood_score": np.float64}
        return TokenDetail(**{f.name: np.empty(0, types.get(f.name, np.int64)) for f in fields(TokenDetail)})

    def chosen(self, which: NDArray[np.bool_]) -> "TokenDetail":
        """The details of some of the positions."""
        return TokenDetail(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """The evidence of a record without tokens: none; where it ends is judged all the same."""

    tokens: int = 0
    outliers: int = 0
    p_value: float = 1.0

    @property
    def reasons(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class RecordVerdict:
    """The verdict of one record.

    Attributes:
        index: its place among the records verified.
        reasons: why it is flagged; empty when it is not.
        stop_findings: what is wrong with where it ends.
        stop_bits: bits charged for an early stop, else 0.
        end_code_bits: length of an end that is not as asked, early or late, in the code of ends; else 0.
    """

    index: int
    evidence: Evidence
    stop_findings: list[StopFinding]
    stop_bits: float
    end_code_bits: float
    reasons: list[str]
    tokens: TokenDetail

    @property
    def flagged(self) -> bool:
        return bool(self.reasons)

    @property
    def p_value(self) -> float:
        """At most this share of honest records looks like this one: by its tokens, or by where it ends."""
        return min([self.evidence.p_value, *(finding.honest_rate for finding in self.stop_findings)])

    @property
    def early_stop(self) -> bool:
        return any(finding.kind == "early" for finding in self.stop_findings)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found; the evidence is in it.

    Attributes:
        extractable_bits_per_token: mean information charged, stopping included, bits.
        run_p_value: probability bound that an honest run shows as much.
        trade_off: what every margin threshold would make of the records that are not flagged.
        charges: what each record could have carried unseen, under every code.
    """

    records: list[RecordVerdict]
    vocabulary: int
    run_p_value: float
    trade_off: list[TradeOffPoint]
    charges: RecordCharges
    timing: Timing
    total_seconds: float

    @property
    def tokens(self) -> int:
        return sum(record.evidence.tokens for record in self.records)

    def count(self, verdict: Verdict) -> int:
        """Tokens with a verdict."""
        return sum(int((record.tokens.verdict == verdict).sum()) for record in self.records)

    @property
    def exact_match_rate(self) -> float:
        return sum(int(record.tokens.exact.sum()) for record in self.records) / self.tokens

    @property
    def early_stops(self) -> int:
        return sum(record.early_stop for record in self.records)

    @property
    def unanswered(self) -> int:
        """Requests that got no token: refused, failed, or given up before the first."""
        return sum(not record.evidence.tokens for record in self.records)

    @property
    def flagged(self) -> list[RecordVerdict]:
        return [record for record in self.records if record.flagged]

    @property
    def extractable_bits_per_token(self) -> float:
        bits = sum(float(record.tokens.charged_bits.sum()) + record.stop_bits for record in self.records)
        return bits / self.tokens

    @property
    def extractable_fraction(self) -> float:
        return self.extractable_bits_per_token / float(np.log2(self.vocabulary))

    @property
    def tied_positions(self) -> int:
        """Safe positions with more than one admissible token among those whose logits are known."""
        return sum(int(((r.tokens.admissible - r.tokens.unseen > 1) & _safe(r)).sum()) for r in self.records)

    @property
    def unresolved_positions(self) -> int:
        """Positions where a token whose logit is not known might have won."""
        return sum(int((record.tokens.unseen > 0).sum()) for record in self.records)

    @property
    def unresolved_bits_per_token(self) -> float:
        """The part of the information charged that is due to unresolved positions, bits."""
        bits = 0.0
        for record in self.records:
            tokens = record.tokens
            without = np.log2(tokens.admissible) - np.log2(tokens.admissible - tokens.unseen)
            bits += float(without[_safe(record)].sum())
        return bits / self.tokens

    @property
    def alarm(self) -> bool:
        """Whether an honest run would show as much with probability at most `RUN_ALARM_RATE`."""
        return self.run_p_value <= RUN_ALARM_RATE


def _safe(record: RecordVerdict) -> NDArray[np.bool_]:
    safe: NDArray[np.bool_] = record.tokens.verdict == Verdict.SAFE
    return safe


@dataclass
class Verifier:
    """Verifies records on one replayer under one policy.

    Attributes:
        max_model_length: the server's context length in tokens, where it may have ended answers; the model's own when
            None.
        progress: called with the number of output tokens just replayed.
    """

    replayer: Replayer
    policy: BasePolicy
    max_model_length: int | None = None
    progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        self.policy.check_made_for(
            model_digest=self.replayer.identity.digest, replay=self.replayer.implementation, dtype=self.replayer.dtype
        )

    def check_scheme(self, record: Record) -> None:
        """Check that the policy holds for a record.

        Raises:
            PolicyError: it was made for another scheme or engine.
        """
        made_for, engine = self.policy.made_for, record.engine
        for what, ours, theirs in (
            ("scheme", made_for.scheme, engine.sampler),
            ("engine", f"{made_for.engine} {made_for.engine_version}", f"{engine.name} {engine.version}"),
        ):
            if ours != theirs:
                raise PolicyError(f"the policy was made for {what} {ours}, not {theirs}; calibrate one that fits")

    def verify(self, records: Sequence[Record]) -> Verification:
        """Verify records.

        1. Check that the policy holds for every record.
        2. Replay those that have tokens, and score every claimed token against its candidates.
        3. Judge tokens; gather the evidence about each record.
        4. Judge records: by the evidence, and by where they end.
        5. Judge the run.

        Raises:
            NothingToVerify: no records, or none with a token. PolicyError: the policy holds for another scheme
                or engine.
        """
        started = time.perf_counter()
        # 1
        if not records:
            raise NothingToVerify("there is no record to verify")
        for record in records:
            self.check_scheme(record)
        answered = [index for index, record in enumerate(records) if record.output_token_ids]
        if not answered:
            raise NothingToVerify(f"none of {len(records)} records has a token to verify")

        # 2, 3
        policy, vocabulary = self.policy, self.replayer.identity.vocabulary
        replay = Replay(self.replayer, policy.window, self.progress)
        test = policy.gatherer(len(answered))
        trade_off = TradeOff(vocabulary, len(answered))
        ledger = Ledger(
            len(records),
            policy.counting_code(vocabulary),
            policy.pooled_code(vocabulary),
            has_noise_model=not policy.exact,
        )
        parts: list[list[tuple[IntArray, TokenDetail]]] = [[] for _ in answered]
        for placed in replay.tables([records[index] for index in answered]):
            at = time.perf_counter()
            scores = score(placed.table, policy.tolerance, 0)
            verdicts = judge_tokens(scores, policy.tolerance.margin, policy.rank_limit, vocabulary)
            test.add(placed.record_n, scores)
            trade_off.add(placed.record_n, scores)
            ledger.add(np.array(answered)[placed.record_n], scores, verdicts.verdict_n)
            detail = TokenDetail(
                margin=scores.margin_n,
                exact=scores.exact_n,
                logit_rank=scores.logit_rank_n,
                gumbel_rank=scores.gumbel_rank_n,
                admissible=scores.admissible_n,
                verdict=verdicts.verdict_n,
                unseen=scores.unseen_n,
                charged_bits=verdicts.charged_bits_n,
                likelihood_score=policy.likelihood(placed.table, scores),
            )
            for index in np.unique(placed.record_n):
                which = placed.record_n == index
                parts[index].append((placed.position_n[which], detail.chosen(which)))
            replay.timing.score += time.perf_counter() - at

        # 4
        rule = StoppingRule(
            identity=self.replayer.identity,
            tokenizer=self.replayer.tokenizer,
            max_model_length=self.max_model_length or self.replayer.identity.context_length,
            forced_margin=policy.forced_end[0],
            forced_rate=policy.forced_end[1],
        )
        judged = [
            self._judge(index, record, TokenDetail.of_none(), Unanswered(), rule)
            for index, record in enumerate(records)
        ]
        for at, index in enumerate(answered):
            judged[index] = self._judge(index, records[index], TokenDetail.joined(parts[at]), test.evidence(at), rule)

        # 5
        return Verification(
            records=judged,
            vocabulary=vocabulary,
            run_p_value=run_p_value(
                np.array([record.p_value for record in judged]),
                sum(record.flagged for record in judged),
                HONEST_RECORD_RATE,
            ),
            trade_off=[]
            if policy.exact
            else trade_off.points(policy.rank_limit, np.array([not judged[index].flagged for index in answered])),
            charges=ledger.charges(np.array([record.end_code_bits for record in judged])),
            timing=replay.timing,
            total_seconds=time.perf_counter() - started,
        )

    def _judge(
        self, index: int, record: Record, detail: TokenDetail, evidence: Evidence, rule: StoppingRule
    ) -> RecordVerdict:
        findings = rule.findings(record, float(detail.margin[-1]) if evidence.tokens else 0.0)
        reasons = list(evidence.reasons)
        reasons.extend(f"{finding.kind} stop: {finding.why}" for finding in findings if finding.flags)
        early = any(finding.kind == "early" for finding in findings)
        return RecordVerdict(
            index=index,
            evidence=evidence,
            stop_findings=findings,
            stop_bits=rule.early_stop_bits(record) if early else 0.0,
            end_code_bits=rule.end_code_bits(record) if findings else 0.0,
            reasons=reasons,
            tokens=detail,
        )
