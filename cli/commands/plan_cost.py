"""The cost of a planned audit."""

from dataclasses import dataclass
from math import ceil

from weightwarden.cli.options.quantities import SECONDS_A_DAY
from weightwarden.verifier.statistics.planning import Plan
from weightwarden.verifier.statistics.sampling_design import END_TOKENS, UNIT_TOKENS
from weightwarden.verifier.statistics.traffic import Traffic


@dataclass(frozen=True)
class Cost:
    """The present cost of auditing, for all sites.

    Attributes:
        messages_per_second: audited messages, one forward pass each.
        prefill_tokens_per_second: tokens of prompts and answers that are read.
        output_tokens_per_second: audited output tokens.
        prefill_per_output_token: tokens read for each audited output token.
        share_of_serving: tokens read, as a share of all tokens that the servers process.
        verifiers: number of verifiers needed, or None without their throughput.
    """

    messages_per_second: float
    prefill_tokens_per_second: float
    output_tokens_per_second: float
    prefill_per_output_token: float
    share_of_serving: float
    verifiers: int | None


def audit_cost(found: Plan, traffic: Traffic, length_limit: int, throughput: float | None) -> Cost:
    """The cost. By tokens the audited answers are longer than others: twice as long where lengths are exponential."""
    mean = audited_mean = traffic.tokens_per_message
    audited = found.audit_rate  # share of the messages
    if found.by == "tokens":
        second = mean * min(2 * mean, length_limit)  # mean of the squared lengths
        audited = min(found.audit_rate * (mean + END_TOKENS) / UNIT_TOKENS, 1.0)
        audited_mean = (second + END_TOKENS * mean) / (mean + END_TOKENS)
    messages = audited * traffic.messages_per_day / SECONDS_A_DAY
    output = messages * audited_mean
    read = output + messages * mean * (1 / traffic.output_share - 1)
    return Cost(
        messages_per_second=messages,
        prefill_tokens_per_second=read,
        output_tokens_per_second=output,
        prefill_per_output_token=read / output,
        share_of_serving=read * SECONDS_A_DAY / traffic.all_tokens_per_day,
        verifiers=None if throughput is None else ceil(read / throughput),
    )
