"""The call add-checkpoint to a witness (c2sp.org/tlog-witness): its request, and the size in its answer 409."""

import re
from base64 import b64encode
from collections.abc import Sequence

from weightwarden.logger.tlog.checkpoint import MAX_SIZE
from weightwarden.logger.tlog.proofs import ProofError
from weightwarden.logger.tlog.signed_note import NoteError

PATH = "add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
"""Content type of an answer 409 that states the witness's size."""
MAX_PROOF = 63
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


def add_checkpoint(old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The body of a request for a cosignature.

    Args:
        old_size: size of the newest checkpoint of the log that the witness cosigned; 0 before the first.
        proof: the consistency proof from that size to the checkpoint; empty from 0 and between equal sizes.
        note: the signed checkpoint.

    Raises:
        ProofError: the proof has too many hashes.
    """
    if len(proof) > MAX_PROOF:
        raise ProofError(f"a proof of {len(proof)} hashes, more than {MAX_PROOF}")
    lines = "".join(f"{b64encode(one).decode()}\n" for one in proof)
    return f"old {old_size}\n{lines}\n".encode() + note


def stated_size(body: bytes) -> int:
    """The size of the newest checkpoint that the witness cosigned, in the body of an answer 409.

    Raises:
        NoteError: the body is not one canonical number and a newline.
    """
    match = _SIZE.fullmatch(body)
    if match is None or int(match[1]) > MAX_SIZE:
        raise NoteError("its size is not a canonical number")
    return int(match[1])
