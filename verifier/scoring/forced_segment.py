"""The forced segment of an answer: the sidecar must have put it in exactly where its rule demands it."""

from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import Text
from weightwarden.logger.text.forced_end import ForcedEnd
from weightwarden.verifier.types import Tokenizer


def forced_fault(record: Record, tokenizer: Tokenizer, eos_ids: frozenset[int]) -> str | None:
    """The reason why a record's forced segment, or its absence, is not what the sidecar's rule demands; else None.

    The rule depends on the request and the tokens alone (`ForcedEnd`), so a segment that follows it carries nothing.
    Only an answer that was cut off at its budget may lack the segment. Only a stop string or a stop token within the
    forced end shortens it.

    Args:
        tokenizer: the trusted tokenizer.
        eos_ids: end-of-sequence ids of the model.
    """
    if record.reasoning is None or record.reasoning.budget is None:
        return None
    ids, budget = record.output_token_ids, record.reasoning.budget
    end = ForcedEnd.of(record, tokenizer)
    detokenizer = tokenizer.detokenizer(record.sampling, record.prompt_token_ids)
    text = Text(detokenizer, record.sampling, eos_ids, record.reasoning)
    _, ending = text.add(ids[:budget])
    due = end is not None and ending is None and end.is_due(text)
    if record.segments is None:
        cut_off = record.finish_reason == "abort" and len(ids) == budget
        if not due or cut_off:
            return None
        return f"the reasoning goes on at its budget of {budget} tokens, and no end was forced"
    if end is None or not due:
        return f"an end was forced after {budget} tokens, where the reasoning was over or the length left no room"
    ((start, stop),) = record.forced()
    forced, wanted = ids[start:stop], end.ids
    if len(forced) > len(wanted):
        return f"{len(forced)} tokens are said to be forced, and the end has {len(wanted)}"
    wrong = next((at for at, (one, other) in enumerate(zip(forced, wanted, strict=False)) if one != other), None)
    if wrong is not None:
        return (
            f"token {forced[wrong]} is said to be forced at position {start + wrong}, and the end has {wanted[wrong]}"
        )
    if len(forced) < len(wanted):
        _, ending = text.add(forced)
        if ending is None or stop < len(ids):
            return f"{len(forced)} tokens are said to be forced, and the end has {len(wanted)}"
    return None
