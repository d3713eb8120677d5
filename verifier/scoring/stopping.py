"""Replay of the stopping rule: the answer must end exactly where its request asks for it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from weightwarden.logger.record import (
    CUT_OFF_BY_CLIENT,
    CUT_OFF_BY_LOGGER,
    CUT_OFF_BY_UPSTREAM,
    REFUSED_BY_UPSTREAM,
    Record,
)
from weightwarden.logger.text.ending import Ending, Text, ending_ids, first_end
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.scoring.forced_segment import forced_fault
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.types import Tokenizer

LABEL_BITS = 4.0
"""Upper bound of the information in a record's finish and stop reasons at one place, bits: at most 16 differ there."""


@dataclass(frozen=True)
class StopFinding:
    """A violation of the stopping rule.

    Attributes:
        kind: "early" if nothing that ends an answer happened, which is charged log2(length limit) bits; "late" if the
            answer continued after something that ends an answer; "forced" if the end of its reasoning was not forced
            exactly where the sidecar's rule demands it.
        honest_rate: share of honest answers, at most, that end so. 1 if the server cannot be blamed: the finding is
            then charged without flagging.
    """

    kind: Literal["early", "late", "forced"]
    why: str
    honest_rate: float

    @property
    def reason(self) -> str:
        """The finding in words, beginning with its kind."""
        return f"forced segment: {self.why}" if self.kind == "forced" else f"{self.kind} stop: {self.why}"

    @property
    def flags(self) -> bool:
        return self.honest_rate < 1


_CUT_OFF = {
    CUT_OFF_BY_CLIENT: ("the client went away", 1.0),
    CUT_OFF_BY_LOGGER: ("the trusted logger stopped", 1.0),
    CUT_OFF_BY_UPSTREAM: ("the server failed or was lost", FLAG_LEVEL),
    REFUSED_BY_UPSTREAM: ("the server refused the request, or another choice of it", 1.0),
}
"""Stop reasons of a trusted logger for answers cut off: in words, and the share of honest answers that end so.

A refusal is charged and never flags: the number of requests that an honest server refuses depends on its settings and
its clients. Each refusal may carry the charge of the code of ends.
"""
_CAPS = (
    "a cap of the server's own? --override-generation-config or generation_config.json with max_new_tokens,"
    " --max-model-len"
)


class ForcedEndLimits(NamedTuple):
    """The limits of forced ends under a policy.

    Attributes:
        margin: margin beyond which a final token was not sampled but forced, logits.
        rate: share of honest answers, at most, that have a forced end.
    """

    margin: float
    rate: float


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """The stopping rule of a server of one model: the sidecar's own (`logger.text.ending`), replayed.

    Attributes:
        tokenizer: makes the text that is searched for the requested stop strings; the server's text is never used.
        max_model_length: the server's context length in tokens, or None when only requests limit the length.
        forced_end: limits of final tokens that were not sampled but forced.
    """

    identity: ModelIdentity
    tokenizer: Tokenizer
    max_model_length: int | None
    forced_end: ForcedEndLimits

    def length_limit(self, record: Record) -> int | None:
        """Largest number of output tokens that the record could have, or None when nothing known limits it."""
        limits = []
        if record.sampling.max_tokens is not None:
            limits.append(record.sampling.max_tokens)
        if self.max_model_length is not None:
            limits.append(self.max_model_length - len(record.prompt_token_ids))
        return min(limits) if limits else None

    def early_stop_bits(self, record: Record) -> float:
        """Bits that an early stop can carry: log2 of the number of places where the answer could have ended."""
        return float(np.log2(max(self.length_limit(record) or 0, len(record.output_token_ids), 2)))

    def end_code_bits(self, record: Record) -> float:
        """Code length of an end that violates the request: its place and its label (Kraft over all ends).

        With a limit, every place up to it has the same length; without, or beyond it, a universal code of the place
        (Elias 1975).
        """
        limit, place = self.length_limit(record), len(record.output_token_ids)
        if limit is not None and place <= limit:
            return float(np.log2(limit + 1)) + 1 + LABEL_BITS
        return 2 * float(np.floor(np.log2(place + 1))) + 1 + 1 + LABEL_BITS

    def forced_finding(self, record: Record) -> StopFinding | None:
        """The fault of a record's forced segment, or of its absence (`forced_fault`). No honest record has one."""
        why = forced_fault(record, self.tokenizer, frozenset(self.identity.eos_ids))
        return None if why is None else StopFinding("forced", why, 0.0)

    def forced_code_bits(self, record: Record) -> float:
        """Code length of the number of forced tokens of a segment that the sidecar's rule does not demand, bits."""
        return float(np.log2(len(record.output_token_ids))) if record.segments is not None else 0.0

    def findings(self, record: Record, last_margin: float) -> list[StopFinding]:
        """Violations at the end of a record; empty when the record ends as its request asks.

        Args:
            last_margin: margin of the record's last token, logits; ignored for a record without tokens.
        """
        place, ending = self._replayed(record)
        late = self._late(record, place, ending)
        found = [self._early(record, ending, last_margin), late]
        return [finding for finding in found if finding is not None]

    def _early(self, record: Record, ending: Ending | None, last_margin: float) -> StopFinding | None:
        if record.finish_reason == "length":
            why = self._unfounded_length(record)
        elif record.finish_reason == "stop":
            why = self._unfounded_stop(record, ending)
            if why is None and last_margin > self.forced_end.margin:
                last = record.output_token_ids[-1]
                far = f"{last_margin:.2f} logits below" if np.isfinite(last_margin) else "outside the support"
                why = f"its final token {last} would not have been drawn ({far})"
                return StopFinding("early", why, self.forced_end.rate)
            if why is None and isinstance(record.stop_reason, str):
                assert ending is not None
                # Engines of different versions may name different ones of several matches, which could carry bits.
                if ending.stop_reason != record.stop_reason:
                    why = (
                        f"says that it stopped at {record.stop_reason!r}, and {ending.stop_reason!r} is complete first"
                    )
                    return StopFinding("early", why, 1.0)
        else:
            # Without a trusted logger's stop reason, an abort is assumed to be as rare as `FLAG_LEVEL`.
            unknown = (f"finished for reason {record.finish_reason!r}", FLAG_LEVEL)
            cut_off = record.finish_reason == "abort" and isinstance(record.stop_reason, str)
            why, rate = _CUT_OFF.get(str(record.stop_reason), unknown) if cut_off else unknown
            return StopFinding("early", why, rate)
        return None if why is None else StopFinding("early", why, 0.0)

    def _unfounded_length(self, record: Record) -> str | None:
        """The reason why finish reason "length" is wrong, or None when it is right."""
        limit, tokens = self.length_limit(record), len(record.output_token_ids)
        if limit is None:
            return "says that it reached a length limit, and none is known"
        if tokens < limit:
            return f"says that it reached the length limit of {limit} tokens, at {tokens} ({_CAPS})"
        return None

    def _unfounded_stop(self, record: Record, ending: Ending | None) -> str | None:
        """The reason why nothing in the output justifies finish reason "stop", or None when something does."""
        reason, last = record.stop_reason, record.output_token_ids[-1]
        if isinstance(reason, str):
            if reason not in record.sampling.stop:
                return f"stopped at a string that was not requested: {reason!r}"
            if ending is None or not isinstance(ending.stop_reason, str):
                return f"says that it stopped at {reason!r}, which its text does not hold"
            return None
        if reason is not None and last != reason:
            return f"says that it stopped at token {reason}, and ends with {last}"
        if not any(last in ids for ids in ending_ids(record.sampling, frozenset(self.identity.eos_ids))):
            known = "" if self.identity.eos_ids else " (and the model's files name no token that ends an answer)"
            return f"says that it stopped, and its last token {last} ends nothing{known}"
        return None

    def _late(self, record: Record, place: int, ending: Ending | None) -> StopFinding | None:
        if ending is None or place == len(record.output_token_ids):
            return None
        if isinstance(ending.stop_reason, str):
            return StopFinding("late", f"went on after the requested stop {ending.stop_reason!r}", 0.0)
        at = place - 1
        return StopFinding("late", f"went on after token {record.output_token_ids[at]} at position {at}", 0.0)

    def _replayed(self, record: Record) -> tuple[int, Ending | None]:
        """Number of tokens of the record by the rule, and its ending there; None where the answer continues."""
        eos_ids = frozenset(self.identity.eos_ids)
        if record.sampling.stop:
            detokenizer = self.tokenizer.detokenizer(record.sampling, record.prompt_token_ids)
            pieces, ending = Text(detokenizer, record.sampling, eos_ids, record.reasoning).add(record.output_token_ids)
            return len(pieces), ending
        return first_end(record.output_token_ids, record.sampling, eos_ids)
