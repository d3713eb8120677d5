"""The verdict of one record, with the scores and verdicts of its tokens."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.columns import Columns
from weightwarden.verifier.policy.base import RecordEvidence
from weightwarden.verifier.scoring.stopping import StopFinding
from weightwarden.verifier.scoring.token_scores import TokenScores
from weightwarden.verifier.scoring.token_verdicts import Verdict


class Alternative(NamedTuple):
    """An admissible token in place of the claimed one: its id, and its margin in logits."""

    token: int
    margin: float


def alternatives_at(table: CandidateTable, scores: TokenScores, row: int, margin: float) -> list[Alternative]:
    """The admissible tokens of a position without the claimed one, the likeliest first. Unseen tokens are left out.

    Args:
        margin: the tolerance delta, logits.
    """
    margin_k = scores.rival_margin_nk[row]
    columns = np.flatnonzero(margin_k <= margin)  # nan is not
    columns = columns[np.argsort(margin_k[columns], kind="stable")]
    return [Alternative(int(table.ids_nk[row, 1 + k]), float(margin_k[k])) for k in columns]


@dataclass(frozen=True, kw_only=True)
class TokenDetail(Columns):
    """Scores and verdicts of tokens, one entry an output position (`TokenScores`, `TokenVerdicts`).

    Attributes:
        margin: margin, logits.
        exact: whether the token is the replay's own choice.
        logit_rank: rank in the raw logits, 1 is the largest.
        gumbel_rank: rank among the perturbed logits.
        admissible: size of the admissible set, this token included.
        unseen: tokens of the admissible set whose logits are not known.
        verdict: `Verdict`.
        charged_bits: information charged, bits.
        likelihood_score: GM-LS, or IPT-LS for inverse-cdf, nats; larger is more plausible; nan in exact replay.
        unsteady: whether rounding errors decide the position. An unsteady position counts as the replay's own choice,
            and is charged as scored.
        outside_grammar: whether the request's grammar excludes the token. It is dangerous, and never unsteady. Tokens
            after it are judged as if there was no grammar.
        forced: whether the sidecar put the token in. It has no row in the replay: its ranks are 0.
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
    unsteady: NDArray[np.bool_]
    outside_grammar: NDArray[np.bool_]
    forced: NDArray[np.bool_]

    @classmethod
    def of_forced(cls, count: int, bits: float) -> "TokenDetail":
        """The details of forced tokens.

        Args:
            count: number of the tokens.
            bits: charge of each, in bits; 0 where the sidecar's rule demands them. With a charge they are dangerous.
        """
        verdict = Verdict.DANGEROUS if bits else Verdict.SAFE
        return cls(
            margin=np.full(count, np.inf if bits else 0.0),
            exact=np.full(count, not bits),
            logit_rank=np.zeros(count, np.int64),
            gumbel_rank=np.zeros(count, np.int64),
            admissible=np.ones(count, np.int64),
            unseen=np.zeros(count, np.int64),
            verdict=np.full(count, verdict, np.int8),
            charged_bits=np.full(count, bits),
            likelihood_score=np.full(count, np.nan),
            unsteady=np.zeros(count, np.bool_),
            outside_grammar=np.zeros(count, np.bool_),
            forced=np.ones(count, np.bool_),
        )

    @classmethod
    def by_record(cls, parts: "list[tuple[IntArray, IntArray, TokenDetail]]", records: int) -> "list[TokenDetail]":
        """The details of every record; no entry for a record without positions.

        Args:
            parts: details of any records, each with the record and the output position of its entries.
            records: number of records.

        Raises:
            ValueError: a position is missing or present twice. A replay that skips tokens is not a verification.
        """
        if not parts:
            return [cls.empty() for _ in range(records)]
        record_n, position_n = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        order = np.lexsort((position_n, record_n))
        ends = np.cumsum(np.bincount(record_n, minlength=records))
        starts = np.append(0, ends[:-1])
        if not np.array_equal(position_n[order], np.arange(len(order)) - starts[record_n[order]]):
            raise ValueError("the replay did not cover every output position once")
        whole = cls.concat([part[2] for part in parts]).take(order)
        return [whole.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)]

    @classmethod
    def empty(cls) -> "TokenDetail":
        """The details of a record without tokens."""
        types: dict[str, type] = dict.fromkeys(("exact", "unsteady", "outside_grammar", "forced"), np.bool_)
        types |= dict.fromkeys(("margin", "charged_bits", "likelihood_score"), np.float64)
        nothing: dict[str, Any] = {f.name: np.empty(0, types.get(f.name, np.int64)) for f in fields(cls)}
        return cls(**nothing)


def forced_part(
    index: int, record: Record, vocabulary: int, fault: StopFinding | None
) -> tuple[IntArray, IntArray, TokenDetail]:
    """The details of a record's forced tokens, with the record and the output position of each.

    Args:
        fault: the fault of its forced segment, if it has one.
    """
    position_n = np.concatenate([np.arange(start, end) for start, end in record.forced()])
    detail = TokenDetail.of_forced(len(position_n), 0.0 if fault is None else float(np.log2(vocabulary)))
    return np.full(len(position_n), index), position_n, detail


@dataclass(frozen=True, kw_only=True)
class NoTokens:
    """The empty evidence of a record without tokens. The end of the record is judged all the same."""

    tokens: int = 0
    outliers: int = 0
    p_value: float = 1.0

    @property
    def reasons(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class Undefined:
    """The empty evidence of a record whose tokens cannot be judged: a row of its logits has no definite token.

    The request is the reason, and the server did not choose it, so the record is not flagged. It is charged as if each
    of its tokens could have been any token.
    """

    tokens: int
    why: str
    outliers: int = 0
    p_value: float = 1.0

    @property
    def reasons(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class RecordVerdict:
    """The verdict of one record.

    Attributes:
        index: place of the record among the records verified.
        reasons: reasons why the record is flagged; empty when it is not.
        stop_findings: violations of the rules by which the sidecar ends an answer, or its reasoning.
        stop_bits: bits charged for an early stop, else 0.
        alternatives: the admissible tokens at positions that are not safe.
        end_code_bits: code length of an end that violates the request, early or late, in the code of ends; else 0.
    """

    index: int
    evidence: RecordEvidence
    stop_findings: list[StopFinding]
    stop_bits: float
    end_code_bits: float
    reasons: list[str]
    tokens: TokenDetail
    alternatives: dict[int, list[Alternative]]

    @property
    def flagged(self) -> bool:
        return bool(self.reasons)

    @property
    def undefined(self) -> str | None:
        """The reason why the tokens have no verdict; None where they have one."""
        return self.evidence.why if isinstance(self.evidence, Undefined) else None

    @property
    def p_value(self) -> float:
        """The share of honest records, at most, that look like this one by their tokens, or by their ends.

        0 with a token outside the grammar: an honest server never draws one.
        """
        outside = [0.0] * bool(self.tokens.outside_grammar.any())
        return min([self.evidence.p_value, *outside, *(finding.honest_rate for finding in self.stop_findings)])

    @property
    def forced(self) -> tuple[int, int]:
        """Number of forced tokens, and of those among them that the sidecar's rule does not demand."""
        forced = self.tokens.forced
        return int(forced.sum()), int((forced & ~self.tokens.exact).sum())

    @property
    def early_stop(self) -> bool:
        return any(finding.kind == "early" for finding in self.stop_findings)
