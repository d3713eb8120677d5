"""The gamble of whole answers: the length that pays an attacker best for its risk, and the bits that it gains.

An altered answer of n tokens carries n free tokens, and is flagged with probability q(n) = p(n) power. Where the first
flagged answer raises the alarm, each answer spends its risk -ln(1 - q(n)), and all together may spend -ln of the
probability with which the attacker wants to escape. So the answers of the length with the most tokens for their risk
gain the most.

By records the risk does not depend on the length, and the longest answers pay best. By tokens q(n) = a (n + 8) up to
p = 1. The risk is convex in n there, so that n / risk has one maximum: at the root of risk(n) - n risk'(n), which falls
in n, or at the end of the range. Beyond p = 1 the risk is constant, and the longest answers pay best again.

Where several flagged answers raise the alarm, the expense of an answer is q(n). Tokens for it, n / q(n), grow with n
throughout: the longest answers pay best, by tokens, too.
"""

from math import ceil, floor, log1p

from weightwarden.verifier.statistics.evasion import Split, Tactic, best_split
from weightwarden.verifier.statistics.sampling_design import END_TOKENS, UNIT_TOKENS, SamplingDesign


def whole_answer_gamble(
    design: SamplingDesign,
    *,
    bits_per_token: float,
    length_limit: int,
    power: float,
    escape_probability: float,
    alarm_at: int = 1,
) -> Split:
    """The most bits that wholly altered answers carry before the alarm, and the answers that carry them.

    By records the number of answers is exact. By tokens it is that of one length, not rounded, which bounds every
    mixture of lengths.

    Args:
        design: the draw of the audited answers.
        bits_per_token: bits of a token that is chosen freely.
        length_limit: largest number of tokens of an answer.
        power: probability that an altered answer is flagged when it is audited.
        escape_probability: probability with which the attacker escapes the alarm at least.
        alarm_at: flagged answers that raise the alarm.
    """
    lengths = {length_limit}
    if design.by == "tokens":
        lengths |= {1, *_turning_points(design, length_limit, power)}
    return best_split(
        [
            Tactic("nothing more", 0.0, 0.0),
            *(
                Tactic(f"answers of {length} tokens", bits_per_token * length, design.probability(length) * power)
                for length in sorted(lengths)
            ),
        ],
        messages=float("inf"),
        audit_rate=1.0,
        escape_probability=escape_probability,
        alarm_at=alarm_at,
    )


def gambled_tokens(found: Split, bits_per_token: float) -> int:
    """Tokens of each answer of a gamble; 0 where no gamble gains anything."""
    return 0 if found.gambling is None else round(found.gambling.bits / bits_per_token)


def _turning_points(design: SamplingDesign, length_limit: int, power: float) -> set[int]:
    """Lengths, besides the longest, of which one may pay best by tokens: those around the root of the derivative."""
    a = design.rate * power / UNIT_TOKENS

    def rises(tokens: float) -> bool:
        """True where n / risk(n) still rises in n."""
        caught = a * (tokens + END_TOKENS)
        return caught < 1 and -log1p(-caught) > tokens * a / (1 - caught)

    low, high = 1.0, float(min(length_limit, max(design.certain_tokens, 1.0)))
    if rises(high):
        low = high
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) else (low, middle)
    return {min(max(length, 1), length_limit) for length in (floor(low), ceil(low), floor(high), ceil(high))}
