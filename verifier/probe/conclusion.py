"""The conclusion of a probe: the scheme of a server, or no known one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log10
from typing import Any

import numpy as np
from scipy.stats import binom

from weightwarden.sampler.schemes import SCHEMES
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.probe.evidence import Hypothesis, Refusal, SchemeMatch, gather
from weightwarden.verifier.probe.queries import FILTERED, UNFILTERED, ProbeAnswer, ProbeQueries
from weightwarden.verifier.probe.trace import log10_trace
from weightwarden.verifier.replay.replay import Replayer

ERROR = 1e-6
"""Probability of naming any scheme by chance, over all hypotheses tried."""
MATCH_RATE = 0.6
"""Least share of the tokens that a named scheme gives. An independent replay gives some 98% of an honest server's; of
llama.cpp's, which quantises its activations, 85 to 90% with filters and 72% in vocabulary order.
"""
GREEDY_RATE = 0.85
"""Least share of greedy tokens that have the largest logit of the trusted model (95% for the same llama.cpp server)."""
MIN_TOKENS = 24
"""Least number of tokens for a conclusion."""

_LLAMA_CPP = {"top_k": 40, "top_p": 0.95, "min_p": 0.05}
OTHER_SETTINGS: tuple[Mapping[str, Any], ...] = (
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 0.7},
    {"temperature": 0.8},
    {"temperature": 1.0, "top_k": 50},
    {"temperature": 1.0, **_LLAMA_CPP},
    {"temperature": 0.8, **_LLAMA_CPP},
    {"temperature": 1.0, "top_k": 40, "top_p": 0.95},
    {"temperature": 1.0, "top_k": 64, "top_p": 0.95},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
    {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
)
"""Settings that servers use instead of the requested ones: defaults of engines and of well-known models."""
OTHER_SEEDS = (0, 42)
"""Seeds that a server may use for all requests if it ignores theirs; 42 is SGLang's."""
SIGN_LEVEL = 0.01
"""Probability of preferring other settings to the requested ones although they are no better."""
_TRIED = 2 * len(SCHEMES) * (1 + len(OTHER_SEEDS)) * (2 + len(OTHER_SETTINGS))
LOG10_LIMIT = log10(ERROR / _TRIED)
"""log10 of the probability below which a match is not attributed to chance."""


@dataclass(frozen=True, kw_only=True)
class SchemeFinding:
    """The explanation of one kind of request.

    Attributes:
        asked: the requested parameters.
        evidence: evidence for each scheme with the requested parameters, the best first.
        refusals: schemes that cannot have drawn these requests.
        best: the named hypothesis, or None.
        alike: other schemes that give the same tokens.
        traced: a scheme whose noise is in the answers, if no scheme is named with the requested parameters.
    """

    asked: Mapping[str, Any]
    evidence: Sequence[SchemeMatch]
    refusals: Sequence[Refusal]
    best: SchemeMatch | None
    alike: Sequence[str] = ()
    traced: str | None = None

    @property
    def scheme(self) -> str | None:
        """The scheme that drew the answers, or None; "greedy" is one."""
        return self.traced if self.best is None else self.best.scheme

    @property
    def as_asked(self) -> bool:
        """True if the named hypothesis has the requested parameters and seed."""
        return self.best is None or (self.best.sampling == self.asked and self.best.seed is None)


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The findings about a server.

    Attributes:
        greedy: answers at temperature 0 against the largest logit, or None where there are none.
        unfiltered: explanation of the seeded answers without filters.
        filtered: explanation of the seeded answers with filters.
        findings: deviations from an honest server, in words.
    """

    greedy: SchemeMatch | None
    unfiltered: SchemeFinding
    filtered: SchemeFinding | None
    findings: Sequence[str] = field(default_factory=tuple)

    @property
    def named(self) -> str | None:
        """The scheme by which the server samples, or None if it is not a known one."""
        return None if self.unfiltered.scheme == "greedy" else self.unfiltered.scheme


def conclude(replayer: Replayer, interview: ProbeQueries) -> Conclusion:
    """Conclude from a server's answers.

    1. Check the model: at temperature 0 the tokens are the largest logits of the trusted model.
    2. Find the schemes of the unfiltered answers, and of the filtered ones.
    3. Check that the seed determines the answer.

    Raises:
        ReplayServerError: too few answers could be used.
    """
    tokens = sum(len(answer.token_ids) for answer in interview.unfiltered)
    if tokens < MIN_TOKENS:
        why = f" ({interview.left_out[0]})" if interview.left_out else ""
        raise ReplayServerError(
            f"{tokens} seeded tokens could be used, and at least {MIN_TOKENS} are needed;"
            f" {len(interview.left_out)} answers were left out{why}"
        )
    findings = []
    # 1
    greedy = None
    if interview.greedy:
        (greedy,), _ = gather(replayer, interview.greedy, [Hypothesis("greedy", UNFILTERED)])
        if greedy.rate < GREEDY_RATE:
            findings.append(
                f"not the model here: at temperature 0 only {greedy.matches} of {greedy.tokens} tokens have its largest"
                " logit (another model, another prompt, or a temperature of the server's own)"
            )
    # 2
    unfiltered = _found(replayer, interview.unfiltered, UNFILTERED)
    filtered = _found(replayer, interview.filtered, FILTERED) if interview.filtered else None
    for kind, found in (("unfiltered", unfiltered), ("filtered", filtered)):
        if found is not None and not found.as_asked and found.best is not None:
            findings.append(f"{kind} requests are not sampled as asked, but with {_settings(found.best)}")
        if found is not None and found.best is None and found.traced is not None:
            findings.append(
                f"{kind} requests are drawn with the noise of {found.traced}, but neither as asked nor with any"
                " settings that were tried"
            )
    if unfiltered.scheme == "greedy":
        findings.append("answers are greedy although a temperature was asked for")
    if filtered is not None and filtered.scheme is None and unfiltered.scheme is not None:
        findings.append("no known scheme gives the filtered answers: filters of the server's own, or another order")
    # 3
    findings += _about_seeds(interview)
    return Conclusion(greedy=greedy, unfiltered=unfiltered, filtered=filtered, findings=tuple(findings))


def is_shown(evidence: SchemeMatch) -> bool:
    """True if a hypothesis explains the tokens: most of them, and more than chance with probability `ERROR`."""
    least = GREEDY_RATE if evidence.scheme == "greedy" else MATCH_RATE
    return evidence.rate >= least and evidence.log10_p <= LOG10_LIMIT


def _found(replayer: Replayer, said: Sequence[ProbeAnswer], asked: Mapping[str, Any]) -> SchemeFinding:
    """The explanation of answers.

    1. Try each scheme with the requested parameters. One that accepts drafts by chance is named only if it gives
       clearly more of the tokens than the best of the others.
    2. If one explains them, try it with other settings, which are preferred only if they give clearly more of the
       tokens.
    3. If none does, try other settings and other seeds for the schemes whose noise is in the answers all the same, and
       for those that have no noise.
    """
    names = [*SCHEMES]
    # 1
    evidence, refusals = gather(replayer, said, [Hypothesis(name, asked) for name in names])
    ranked = sorted(evidence, key=lambda item: (SCHEMES[item.scheme].speculates, -item.rate, names.index(item.scheme)))
    shown = [item for item in ranked if is_shown(item)]
    if len(shown) > 1 and SCHEMES[shown[-1].scheme].speculates:
        # It explains whatever the same noise gives without drafts, and more.
        shown = [shown[-1]] if _clearly_better(shown[-1], shown[0]) else shown[:-1]
    others = [settings for settings in OTHER_SETTINGS if settings != asked]
    traced = None
    if shown and shown[0].scheme != "greedy":
        # 2
        more, _ = gather(replayer, said, [Hypothesis(shown[0].scheme, settings) for settings in others])
        better = [item for item in more if is_shown(item) and _clearly_better(item, shown[0])]
        shown = sorted(better, key=lambda item: -item.rate)[:1] or shown
    elif not shown:
        # 3
        suspects: list[Hypothesis] = []
        noisy = [name for name in names if name != "greedy" and not SCHEMES[name].speculates]
        for name, seed in ((name, seed) for seed in (None, *OTHER_SEEDS) for name in noisy):
            trace = log10_trace(name, said, replayer.identity.vocabulary, seed)
            if trace is not None and trace <= LOG10_LIMIT:
                traced = traced or name
            if (trace is None and seed is None) or (trace is not None and trace <= LOG10_LIMIT):
                suspects += [Hypothesis(name, settings, seed) for settings in (asked, *others)]
            elif trace is None:
                suspects.append(Hypothesis(name, asked, seed))
        more, _ = gather(replayer, said, suspects)
        shown = sorted((item for item in more if is_shown(item)), key=lambda item: -item.rate)
    best = shown[0] if shown else None
    alike = [] if best is None else _alike(best, shown[1:])
    return SchemeFinding(asked=asked, evidence=ranked, refusals=refusals, best=best, alike=alike, traced=traced)


def _clearly_better(one: SchemeMatch, other: SchemeMatch) -> bool:
    """True if a hypothesis gives more of the tokens than another, by a sign test of those that only one gives."""
    only_one = int((one.matched_n & ~other.matched_n).sum())
    only_other = int((other.matched_n & ~one.matched_n).sum())
    return bool(binom.sf(only_one - 1, only_one + only_other, 0.5) <= SIGN_LEVEL / len(OTHER_SETTINGS))


def _alike(best: SchemeMatch, others: Iterable[SchemeMatch]) -> list[str]:
    same = (other.scheme for other in others if np.array_equal(other.matched_n, best.matched_n))
    return [name for name in dict.fromkeys(same) if name != best.scheme]


def _settings(evidence: SchemeMatch) -> str:
    said = ", ".join(f"{name} {value:g}" for name, value in evidence.sampling.items())
    return said if evidence.seed is None else f"{said}, seed {evidence.seed}"


def _about_seeds(interview: ProbeQueries) -> list[str]:
    findings = []
    first = interview.unfiltered[0].token_ids
    if interview.same_seed is not None and interview.same_seed.token_ids != first:
        again = interview.same_seed.token_ids
        at = next(
            (i for i, (a, b) in enumerate(zip(first, again, strict=False)) if a != b), min(len(first), len(again))
        )
        findings.append(f"the same request with the same seed got another answer, from token {at} on")
    if interview.other_seed is not None and interview.other_seed.token_ids == first:
        findings.append("the same request with another seed got the same answer: the seed is ignored")
    return findings
