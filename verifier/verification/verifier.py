"""Verification of records on one replayer in this process: from claimed tokens to verdicts, with the evidence."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.record import Record
from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.types import BoolArray
from weightwarden.verifier.candidates.record_masks import GrammarSource
from weightwarden.verifier.errors import UndefinedRow
from weightwarden.verifier.policy.base import BasePolicy, EvidenceAccumulator, RecordEvidence
from weightwarden.verifier.replay.environment import ReplayEnvironment, environment_of
from weightwarden.verifier.replay.replay import Replay, Replayer, SwayingReplayer
from weightwarden.verifier.scoring.accumulator import Accumulator
from weightwarden.verifier.scoring.ledger import Ledger, OutcomeCounter
from weightwarden.verifier.scoring.likelihood_ratio import LikelihoodRatioAccumulator
from weightwarden.verifier.scoring.margin_histogram import MarginCounter
from weightwarden.verifier.scoring.stopping import StopFinding, StoppingRule
from weightwarden.verifier.scoring.threshold_sweep import ThresholdSweep
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.scoring.token_verdicts import Verdict, judge_tokens
from weightwarden.verifier.verification.judgement import Judgement
from weightwarden.verifier.verification.outside_grammar import outside_grammar_reason
from weightwarden.verifier.verification.record_verdict import (
    Alternative,
    NoTokens,
    RecordVerdict,
    TokenDetail,
    alternatives_at,
    forced_part,
)
from weightwarden.verifier.verification.run_verdict import Verification, verify
from weightwarden.verifier.verification.scored_chunk import ScoredChunk
from weightwarden.verifier.verification.summary import Summary
from weightwarden.verifier.verification.tally import Tally
from weightwarden.verifier.verification.token_frame import TokenSink
from weightwarden.verifier.verification.unsteady import unsteady_positions
from weightwarden.verifier.verification.work_unit import WorkUnit


@dataclass
class Verifier:
    """The `Executor` in this process: it verifies records on one replayer under one policy.

    Attributes:
        replayer: the trusted copy of the model.
        policy: the policy that judges the records.
        max_model_length: context length in tokens at which the server may have ended answers; None for the model's own.
        progress: called with the number of output tokens just replayed.
        tokens: receives scores and verdicts of every token, if they are requested.
        grammars: maker of the masks of records with a grammar. If omitted: a process for the model's folder, started
            when it is needed.
    """

    replayer: Replayer
    policy: BasePolicy
    max_model_length: int | None = None
    progress: Callable[[int], None] | None = None
    tokens: TokenSink | None = None
    grammars: GrammarSource | None = None
    workers = 1
    deaths = 0

    def __post_init__(self) -> None:
        self.policy.check_made_for(
            model_digest=self.replayer.identity.digest, replay=self.replayer.implementation, dtype=self.replayer.dtype
        )
        identity = self.replayer.identity
        extra = self.replayer.implementation if self.replayer.implementation.startswith("vllm") else "replay"
        self._grammars = self.grammars or GrammarProcess(identity.path, identity.vocabulary, extra=extra)

    @property
    def unit_tokens(self) -> int:
        return self.replayer.unit_tokens

    @property
    def environments(self) -> tuple[ReplayEnvironment, ...]:
        return (environment_of(self.replayer),)

    def close(self) -> None:
        """Free the replayer's resources, and end the process that makes masks."""
        self.replayer.close()
        self._grammars.close()

    def verify(self, records: Iterable[Record]) -> Verification:
        """Verify records, and judge them as one run (`verify`)."""
        return verify(self, records)

    def summaries(self, units: Iterable[WorkUnit]) -> Iterator[Summary]:
        """Judge units, one after another."""
        for unit in units:
            judged = self.judge(unit.records)
            if self.tokens is not None:
                self.tokens.add(unit.places, unit.records, judged)
            yield Summary.of(unit, judged)

    def judge(self, records: Sequence[Record]) -> Judgement:
        """Judge records one by one. Records without tokens are judged by their ends.

        1. Check that the policy holds for every record.
        2. Leave out records whose requests leave no definite token: they get no verdict (`Undefined`).
        3. Judge the others together. Where one of them reaches a row without a definite token, judge the halves
           separately. Records whose grammar cannot be used get no verdict either.

        Raises:
            PolicyError: the policy holds for another scheme or engine.
        """
        # 1
        for record in records:
            self.policy.check_scheme(record)
        # 2
        identity, bets = self.replayer.identity, len(self.policy.likelihood_ratio_bets)
        parts: list[tuple[Sequence[int], Judgement]] = []
        defined = []
        for index, record in enumerate(records):
            found = undefined_field(record.sampling, identity.eos_ids, identity.vocabulary)
            if found is None or not record.output_token_ids:
                defined.append(index)
            else:
                why = f"sampling.{found[0]}: {found[1]}"
                parts.append(([index], Judgement.of_undefined(record, why, identity.vocabulary, bets)))
        # 3
        halves = [defined] if defined or not records else []
        while halves:
            places = halves.pop()
            try:
                parts.append((places, self._replayed([records[index] for index in places])))
            except UndefinedRow as error:
                if len(places) > 1:
                    halves += [places[: len(places) // 2], places[len(places) // 2 :]]
                else:
                    record = records[places[0]]
                    undefined = Judgement.of_undefined(record, str(error), identity.vocabulary, bets)
                    parts.append((places, undefined))
        return parts[0][1] if len(parts) == 1 else Judgement.concat(parts)

    def _replayed(self, records: Sequence[Record]) -> Judgement:
        """The verdicts of records whose requests all leave definite tokens.

        1. Replay the records that have tokens, and score every claimed token against its candidates.
        2. Leave out records whose grammar cannot be used: they get no verdict (`Undefined`).
        3. Judge the others.

        Raises:
            UndefinedRow: a record has a row without a definite token.
        """
        # 1
        replay = Replay(self.replayer, self.policy.window, self.progress, grammars=self._grammars)
        alternatives: list[dict[int, list[Alternative]]] = [{} for _ in records]
        chunks = list(self._scored(records, replay, alternatives))
        answered = [index for index, record in enumerate(records) if record.output_token_ids]
        refused = {answered[at]: f"its grammar cannot be used: {why}" for at, why in replay.refused.items()}
        if not refused:
            return self._judged(records, chunks, alternatives, replay)
        # 2
        vocabulary, bets = self.replayer.identity.vocabulary, len(self.policy.likelihood_ratio_bets)
        kept = [index for index in range(len(records)) if index not in refused]
        parts: list[tuple[Sequence[int], Judgement]] = [
            ([index], Judgement.of_undefined(records[index], why, vocabulary, bets)) for index, why in refused.items()
        ]
        # 3
        if kept:
            new_r = np.full(len(records), -1)
            new_r[kept] = np.arange(len(kept))
            chunks = [chunk.of_records(new_r) for chunk in chunks]
            judged = self._judged(
                [records[index] for index in kept], chunks, [alternatives[index] for index in kept], replay
            )
            parts.append((kept, judged))
        return Judgement.concat(parts)

    def _judged(
        self,
        records: Sequence[Record],
        chunks: Sequence[ScoredChunk],
        alternatives: Sequence[dict[int, list[Alternative]]],
        replay: Replay,
    ) -> Judgement:
        """The verdicts of records, from the scores of all of their positions.

        1. Accumulate the evidence about each record. Where it speaks against a record, leave out the positions decided
           by rounding errors (`SwayingReplayer`): they are charged, and are no evidence about the server.
        2. Accumulate the scores and charges of every position.
        3. Judge records: by the evidence, and by their ends.

        Args:
            alternatives: the admissible tokens at positions that are not safe, of each record.
        """
        policy, vocabulary, count = self.policy, self.replayer.identity.vocabulary, len(records)
        at = time.perf_counter()
        # 1
        evidence = self._evidence(chunks, count)
        unsteady = self._unsteady(records, evidence)
        if any(unsteady_t is not None for unsteady_t in unsteady):
            chunks = [chunk.without(unsteady) for chunk in chunks]
            evidence = self._evidence(chunks, count)
        # 2
        trade_off, margins = ThresholdSweep(vocabulary, count), MarginCounter(count)
        outcomes = OutcomeCounter(
            count, margin=policy.tolerance.margin, rank_limit=policy.rank_limit, vocabulary=vocabulary
        )
        ledger = Ledger(
            count,
            policy.counting_code(vocabulary),
            policy.pooled_code(vocabulary),
            has_noise_model=not policy.exact,
        )
        ratios = LikelihoodRatioAccumulator(policy.likelihood_ratio_bets, count)
        shown: tuple[Accumulator, ...] = (trade_off, margins, outcomes)
        for chunk in chunks:
            tested = chunk.evidence()
            for accumulator in shown:
                accumulator.add(*tested)
            ledger.add(*(tested if chunk.unsteady_n is None else chunk.charged()))
            if chunk.unsteady_n is None:
                ratios.add(*tested)
            else:
                ratios.add(chunk.record_n, chunk.scores, None, chunk.unsteady_n)
        replay.timing.score += time.perf_counter() - at
        # 3
        rule = StoppingRule(
            identity=self.replayer.identity,
            tokenizer=self.replayer.tokenizer,
            max_model_length=self.max_model_length or self.replayer.identity.context_length,
            forced_end=policy.forced_end_limits,
        )
        faults = [rule.forced_finding(record) for record in records]
        forced = [forced_part(at, one, vocabulary, faults[at]) for at, one in enumerate(records) if one.segments]
        details = TokenDetail.by_record([*(chunk.detail() for chunk in chunks), *forced], count)
        judged = [
            self._judge(
                index,
                record,
                faults[index],
                details[index],
                evidence.evidence(index) if record.output_token_ids else NoTokens(),
                alternatives[index],
                rule,
            )
            for index, record in enumerate(records)
        ]
        kept_r = np.array([not record.flagged for record in judged])
        charges = ledger.charges(
            outcomes.counts_rc,
            np.array([record.end_code_bits for record in judged]),
            np.array([record.forced for record in judged], np.int64).reshape(count, 2),
        )
        return Judgement(
            records=judged,
            margins=margins.histogram,
            tally=Tally(
                charges=charges,
                log_ratio_rk=ratios.log_ratio_rk,
                trade_off=trade_off.sums(policy.rank_limit, kept_r),
                timing=replay.timing,
            ),
        )

    def _scored(
        self, records: Sequence[Record], replay: Replay, alternatives: Sequence[dict[int, list[Alternative]]]
    ) -> Iterator[ScoredChunk]:
        """The scored positions of records, chunk by chunk. Alternatives of unsafe tokens go to `alternatives`."""
        policy, vocabulary = self.policy, self.replayer.identity.vocabulary
        answered = [index for index, record in enumerate(records) if record.output_token_ids]
        for placed in replay.tables([records[index] for index in answered]):
            at = time.perf_counter()
            record_n = np.array(answered)[placed.record_n]
            scores = score(placed.table, policy.tolerance, 0)
            verdicts = judge_tokens(scores, policy.tolerance.margin, policy.rank_limit, vocabulary)
            for row in np.flatnonzero(verdicts.verdict_n != Verdict.SAFE):
                found = alternatives_at(placed.table, scores, int(row), policy.tolerance.margin)
                alternatives[record_n[row]][int(placed.position_n[row])] = found
            likelihood_n = policy.likelihood(placed.table, scores)
            replay.timing.score += time.perf_counter() - at
            yield ScoredChunk(record_n, placed.position_n, scores, verdicts, likelihood_n)

    def _evidence(self, chunks: Sequence[ScoredChunk], records: int) -> EvidenceAccumulator:
        """The evidence about every record."""
        evidence = self.policy.accumulator(records)
        for chunk in chunks:
            evidence.add(*chunk.evidence())
        return evidence

    def _unsteady(self, records: Sequence[Record], evidence: EvidenceAccumulator) -> list[BoolArray | None]:
        """The unsteady output positions of each record (`unsteady_positions`)."""
        limit, replayer = self.policy.steady_sway, self.replayer
        if limit is None or not isinstance(replayer, SwayingReplayer):
            return [None] * len(records)
        return unsteady_positions(replayer, limit, self._grammars, records, evidence)

    def _judge(
        self,
        index: int,
        record: Record,
        fault: StopFinding | None,
        detail: TokenDetail,
        evidence: RecordEvidence,
        alternatives: dict[int, list[Alternative]],
        rule: StoppingRule,
    ) -> RecordVerdict:
        findings = rule.findings(record, 0.0 if not evidence.tokens or detail.forced[-1] else float(detail.margin[-1]))
        outside = outside_grammar_reason(record, detail, rule.tokenizer)
        end_code_bits = rule.end_code_bits(record) if findings or fault is not None else 0.0
        if fault is not None:
            findings.append(fault)
            end_code_bits += rule.forced_code_bits(record)
        reasons = [*evidence.reasons, *([] if outside is None else [outside])]
        reasons.extend(finding.reason for finding in findings if finding.flags)
        early = any(finding.kind == "early" for finding in findings)
        return RecordVerdict(
            index=index,
            evidence=evidence,
            stop_findings=findings,
            stop_bits=rule.early_stop_bits(record) if early else 0.0,
            end_code_bits=end_code_bits,
            reasons=reasons,
            tokens=detail,
            alternatives={at: tokens for at, tokens in alternatives.items() if not detail.unsteady[at]},
        )
