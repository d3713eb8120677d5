"""Verification of records under a policy: from claimed answers to verdicts, with the evidence for each."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logger.record import Record
from sampler.errors import WeightwardenError
from sampler.types import FloatArray, IntArray
from verifier.by_record import representatives
from verifier.errors import PolicyError
from verifier.ledger import Ledger, RecordCharges
from verifier.margin_counts import MarginCounts
from verifier.policy_base import BasePolicy, Evidence
from verifier.record_test import run_p_value
from verifier.record_verdict import Alternative, RecordVerdict, TokenDetail, Unanswered, alternatives_at
from verifier.replay import Replay, Replayer, Timing
from verifier.score import score
from verifier.stopping import StoppingRule
from verifier.token_noise import HONEST_RECORD_RATE
from verifier.tradeoff import TradeOff, TradeOffPoint
from verifier.verdict import Verdict, judge_tokens

RUN_ALARM_RATE = 1e-4
"""A run is an alarm when an honest run would show as much with at most this probability."""


class NothingToVerify(WeightwardenError, ValueError):
    """There is no record to verify, which is not the same as a clear result."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Records with their verdicts, before anything is said of them together.

    Attributes:
        charges: what each record could have carried unseen, under every code.
        margins: how many tokens have which margin, and how many could.
        trade_off: what every margin threshold would make of the records with tokens.
    """

    records: list[RecordVerdict]
    charges: RecordCharges
    margins: MarginCounts
    trade_off: TradeOff
    timing: Timing

    @property
    def watched(self) -> dict[str, FloatArray]:
        """What `TrafficMonitor` watches of every record, and its tokens; float64 [records]."""
        charges = self.charges
        return {
            "tokens": charges.tokens_r.astype(np.float64),
            "mismatches": charges.mismatches_r.astype(np.float64),
            "suspicious": charges.suspicious_r.astype(np.float64),
            "dangerous": charges.dangerous_r.astype(np.float64),
            "pooled_bits": charges.honest_tilt_bits_r,
            "flagged": np.array([record.flagged for record in self.records], np.float64),
        }


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found; the evidence is in it.

    Attributes:
        extractable_bits_per_token: mean information charged, stopping included, bits.
        run_p_value: probability bound that an honest run shows as much.
        trade_off: what every margin threshold would make of the records that are not flagged.
        judgement: the verdicts, and what was charged.
    """

    judgement: Judgement
    vocabulary: int
    run_p_value: float
    trade_off: list[TradeOffPoint]
    total_seconds: float

    @property
    def records(self) -> list[RecordVerdict]:
        return self.judgement.records

    @property
    def charges(self) -> RecordCharges:
        return self.judgement.charges

    @property
    def timing(self) -> Timing:
        return self.judgement.timing

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
        """Verify records, and judge them as one run.

        Raises:
            NothingToVerify: no records, or none with a token. PolicyError: the policy holds for another scheme
                or engine.
        """
        started = time.perf_counter()
        if not records:
            raise NothingToVerify("there is no record to verify")
        if not any(record.output_token_ids for record in records):
            raise NothingToVerify(f"none of {len(records)} records has a token to verify")
        found = self.judge(records)
        judged = found.records
        return Verification(
            judgement=found,
            vocabulary=self.replayer.identity.vocabulary,
            run_p_value=run_p_value(
                np.array([record.p_value for record in judged]),
                sum(record.flagged for record in judged),
                HONEST_RECORD_RATE,
            ),
            trade_off=[]
            if self.policy.exact
            else found.trade_off.points(
                self.policy.rank_limit,
                np.array([not verdict.flagged for verdict in judged if verdict.evidence.tokens]),
            ),
            total_seconds=time.perf_counter() - started,
        )

    def judge(self, records: Sequence[Record]) -> Judgement:
        """Judge records one by one; those without tokens by where they end.

        1. Check that the policy holds for every record.
        2. Replay those that have tokens, and score every claimed token against its candidates.
        3. Judge tokens; gather the evidence about each record.
        4. Judge records: by the evidence, and by where they end.

        Raises:
            PolicyError: the policy holds for another scheme or engine.
        """
        # 1
        for record in records:
            self.check_scheme(record)

        # 2, 3
        answered = [index for index, record in enumerate(records) if record.output_token_ids]
        policy, vocabulary = self.policy, self.replayer.identity.vocabulary
        replay = Replay(self.replayer, policy.window, self.progress)
        test = policy.gatherer(len(answered))
        trade_off = TradeOff(vocabulary, len(answered))
        margins = MarginCounts(len(records))
        ledger = Ledger(
            len(records),
            policy.counting_code(vocabulary),
            policy.pooled_code(vocabulary),
            has_noise_model=not policy.exact,
        )
        parts: list[tuple[IntArray, IntArray, TokenDetail]] = []
        alternatives: list[dict[int, list[Alternative]]] = [{} for _ in records]
        for placed in replay.tables([records[index] for index in answered]):
            at = time.perf_counter()
            scores = score(placed.table, policy.tolerance, 0)
            verdicts = judge_tokens(scores, policy.tolerance.margin, policy.rank_limit, vocabulary)
            record_n = np.array(answered)[placed.record_n]
            which_n, times_n = representatives(placed.record_n, scores)
            some = scores.chosen(which_n)
            test.add(placed.record_n[which_n], some, times_n)
            trade_off.add(placed.record_n[which_n], some, times_n)
            ledger.add(record_n[which_n], some, verdicts.verdict_n[which_n], times_n)
            margins.add(record_n[which_n], some, times_n)
            for row in np.flatnonzero(verdicts.verdict_n != Verdict.SAFE):
                found = alternatives_at(placed.table, scores, int(row), policy.tolerance.margin)
                alternatives[record_n[row]][int(placed.position_n[row])] = found
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
            parts.append((placed.record_n, placed.position_n, detail))
            replay.timing.score += time.perf_counter() - at

        # 4
        rule = StoppingRule(
            identity=self.replayer.identity,
            tokenizer=self.replayer.tokenizer,
            max_model_length=self.max_model_length or self.replayer.identity.context_length,
            forced_margin=policy.forced_end[0],
            forced_rate=policy.forced_end[1],
        )
        by_record = TokenDetail.by_record(parts, len(answered))
        details: dict[int, tuple[TokenDetail, Evidence]] = {
            index: (by_record[at], test.evidence(at)) for at, index in enumerate(answered)
        }
        nothing = (TokenDetail.of_none(), Unanswered())
        judged = [
            self._judge(index, record, *details.get(index, nothing), alternatives[index], rule)
            for index, record in enumerate(records)
        ]
        return Judgement(
            records=judged,
            charges=ledger.charges(np.array([record.end_code_bits for record in judged])),
            margins=margins,
            trade_off=trade_off,
            timing=replay.timing,
        )

    def _judge(
        self,
        index: int,
        record: Record,
        detail: TokenDetail,
        evidence: Evidence,
        alternatives: dict[int, list[Alternative]],
        rule: StoppingRule,
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
            alternatives=alternatives,
        )
