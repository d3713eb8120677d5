"""The evidence of a probe: the match between each scheme and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from weightwarden.logger.record import Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.support import support_of_head
from weightwarden.sampler.types import BoolArray, FloatArray
from weightwarden.sampler.validation_message import validation_message
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.pending import concat
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import HEAD_RESERVE, Window
from weightwarden.verifier.logits.rows import LogitRows
from weightwarden.verifier.probe.chance import log10_tail
from weightwarden.verifier.probe.queries import ProbeAnswer
from weightwarden.verifier.replay.replay import Replayer, reduction
from weightwarden.verifier.scoring.token_scores import Tolerance, score

WINDOW = Window(margin=0.0, logit_slacks=(0.0,), mass_slack=0.0)
"""Window without tolerance: only the scheme's own choice counts, or any that a draft could give."""
TOLERANCE = Tolerance(margin=0.0, logit_slack=0.0, mass_slack=0.0)


@dataclass(frozen=True, kw_only=True)
class SchemeMatch:
    """Tokens that one hypothesis explains.

    Attributes:
        scheme: name of the scheme, or "greedy".
        sampling: parameters of the hypothesis.
        seed: seed of the hypothesis, or None for each request's own.
        matched_n: whether the hypothesis gives each token; of a scheme that speculates, whether any draft gives it.
        chance_n: the probability that it would if it were unrelated to the server. For a scheme with fresh noise, the
            probability of the token itself.
    """

    scheme: str
    sampling: Mapping[str, Any]
    seed: int | None
    matched_n: BoolArray
    chance_n: FloatArray

    @property
    def matches(self) -> int:
        return int(self.matched_n.sum())

    @property
    def tokens(self) -> int:
        return len(self.matched_n)

    @property
    def rate(self) -> float:
        """Share of the tokens that the hypothesis gives."""
        return self.matches / self.tokens

    @property
    def chance_rate(self) -> float:
        """Mean share of the tokens that it would give by chance."""
        return float(self.chance_n.mean())

    @property
    def log10_p(self) -> float:
        """log10 of the probability of as many matches by chance."""
        return log10_tail(self.chance_n, self.matches)


@dataclass(frozen=True)
class Refusal:
    """A scheme that cannot have drawn these requests, and the reason."""

    scheme: str
    why: str


@dataclass(frozen=True)
class Hypothesis:
    """A possible origin of the answers: scheme, parameters and seed."""

    scheme: str
    sampling: Mapping[str, Any]
    seed: int | None = None


def gather(
    replayer: Replayer, said: Sequence[ProbeAnswer], hypotheses: Sequence[Hypothesis]
) -> tuple[list[SchemeMatch], list[Refusal]]:
    """Evidence for each hypothesis, from one replay of the answers, and the hypotheses that the schemes refuse.

    For scheme "greedy" the match is with the largest logit, and chance is that of sampling with the parameters.
    """
    records: dict[int, list[Record]] = {}
    refusals = []
    for at, hypothesis in enumerate(hypotheses):
        name = "vllm-v2" if hypothesis.scheme == "greedy" else hypothesis.scheme  # any scheme with all parameters
        try:
            sampling = SamplingParams.model_validate(hypothesis.sampling)
            records[at] = [answer.record(name, sampling, hypothesis.seed) for answer in said]
        except ValidationError as error:
            refusals.append(Refusal(hypothesis.scheme, validation_message(error)))
    if not records:
        return [], refusals
    any_records = next(iter(records.values()))
    builders = {
        at: DrawBuilder(group[0].engine.sampler, replayer.identity, replayer.tokenizer) for at, group in records.items()
    }
    matched: dict[int, list[BoolArray]] = {at: [] for at in records}
    chance: dict[int, list[FloatArray]] = {at: [] for at in records}
    for batch in replayer.batches(any_records):
        for chunk in replayer.replay(batch, any_records):
            for at, group in records.items():
                draws = builders[at].draws(chunk.rows, chunk.pieces, group)
                own, largest = _probabilities(chunk.rows, draws)
                if hypotheses[at].scheme == "greedy":
                    _, ids = chunk.rows.head(np.arange(len(chunk.rows)), 1)
                    matched[at].append(ids[:, 0] == draws.claimed_n)
                    chance[at].append(largest)
                else:
                    table = concat(reduction(hypotheses[at].scheme)(chunk.rows, draws, WINDOW))
                    if scheme(hypotheses[at].scheme).speculates:
                        own = _admissible_probabilities(chunk.rows, draws, table)
                        matched[at].append(score(table, TOLERANCE, 0).margin_n == 0)
                    else:
                        matched[at].append(table.exact_n)
                    chance[at].append(own)
    found = [
        SchemeMatch(
            scheme=hypotheses[at].scheme,
            sampling=hypotheses[at].sampling,
            seed=hypotheses[at].seed,
            matched_n=np.concatenate(matched[at]),
            chance_n=np.concatenate(chance[at]),
        )
        for at in records
    ]
    return found, refusals


def _admissible_probabilities(rows: LogitRows, draws: Draws, table: CandidateTable) -> FloatArray:
    """Probability [n] of the tokens that some draft gives, after temperature and filters."""
    margin_nk = -table.scores_nk
    row, column = np.nonzero((margin_nk == 0) & (table.ids_nk >= 0))
    logits = rows.at(row, table.ids_nk[row, column])
    _, largest_n = _probabilities(rows, draws)
    top_n = rows.head(np.arange(len(rows)), 1)[0][:, 0]
    share = largest_n[row] * np.exp((logits - top_n[row]) / draws.temperature_n[row])
    total_n = np.bincount(row, share, minlength=len(rows))
    return np.minimum(total_n, 1.0)


def _probabilities(rows: LogitRows, draws: Draws) -> tuple[FloatArray, FloatArray]:
    """Probabilities [n] of the claimed token, and of the likeliest, after temperature and filters."""
    everything = np.arange(len(rows))
    filters, temperature = draws.filters, draws.temperature_n
    claimed = rows.at(everything, draws.claimed_n)
    cut = filters.top_k_n < rows.vocabulary
    if cut.all():
        head, ids = rows.head(everything, int(filters.top_k_n.max()) + HEAD_RESERVE)
        kept = support_of_head(head, filters, None, np.zeros(1)).nominal_nk
        weights = np.where(kept, np.exp((head - head[:, :1]) / temperature[:, None]), 0.0)
        total = weights.sum(axis=1)
        return np.where(ids == draws.claimed_n[:, None], weights, 0.0).sum(axis=1) / total, 1.0 / total
    if cut.any() or (filters.top_p_n < 1).any() or (filters.min_p_n > 0).any():
        raise ValueError("chances are known for requests without filters, or with top-k")
    largest = rows.head(everything, 1)[0][:, 0]
    log_mass = rows.log_mass(everything, temperature, np.full(len(rows), -np.inf), largest)
    return np.exp(claimed / temperature - log_mass), np.exp(largest / temperature - log_mass)
