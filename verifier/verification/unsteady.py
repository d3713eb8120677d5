"""The unsteady positions of records: those that rounding errors decide."""

from collections.abc import Sequence

import numpy as np

from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray
from weightwarden.verifier.candidates.record_masks import GrammarSource, masks_of
from weightwarden.verifier.policy.base import EvidenceAccumulator
from weightwarden.verifier.replay.replay import SwayingReplayer


def unsteady_positions(
    replayer: SwayingReplayer,
    limit: float,
    grammars: GrammarSource,
    records: Sequence[Record],
    evidence: EvidenceAccumulator,
) -> list[BoolArray | None]:
    """The unsteady output positions of each record, bool [output tokens]; None for a record without any.

    Only records with evidence against them are computed again: those with an outlier, or with a reason to flag them. No
    rounding error leads outside a grammar: a token outside is never unsteady.

    Args:
        limit: largest sway of a steady position, logits.
        grammars: maker of the masks of records with a grammar.
    """
    unsteady: list[BoolArray | None] = [None] * len(records)
    answered = [index for index, record in enumerate(records) if record.output_token_ids]
    found = {index: evidence.evidence(index) for index in answered}
    suspects = [index for index, of in found.items() if of.outliers or of.reasons]
    requests = [(index, first, one) for index in suspects for first, one in records[index].requests()]
    masks = [_masks_again(grammars, one) for _, _, one in requests]
    computed = replayer.sway([one for _, _, one in requests], masks)
    for (index, first, one), mask, sway_t in zip(requests, masks, computed, strict=True):
        unsteady_t = sway_t > limit
        if mask is not None and mask.outside_at is not None:
            unsteady_t[mask.outside_at] = False
        if unsteady_t.any():
            whole_t = unsteady[index]
            if whole_t is None:
                whole_t = unsteady[index] = np.zeros(len(records[index].output_token_ids), np.bool_)
            whole_t[first : first + len(one.output_token_ids)] = unsteady_t
    return unsteady


def _masks_again(grammars: GrammarSource, record: Record) -> GrammarMasks | None:
    """The masks of a record's positions; None without a grammar."""
    try:
        return masks_of(grammars, record)
    except GrammarRefused:  # too slow this time
        return None
