"""Named exceptions: known differences of the engine's text from the sidecar's.

No stop string is sent to the engine, and its text is not used, so that these differences never reach a client of the
sidecar.
"""

from itertools import groupby

from benchmarks.text_agreement.cases import Case, Outcome
from weightwarden.logger.text.decoder_steps import is_byte
from weightwarden.logger.text.token_bytes import BROKEN
from weightwarden.logger.text.tokenizer import ModelTokenizer

ENDS_BROKEN = "the answer ends within a character: the engine leaves its last text out"
PROMPT_ENDS_BROKEN = "the prompt ends within a character: the engine repeats the prompt, or loses its place"
STRIPS_AGAIN = "a decoder that strips several spaces (of no known model): the engine strips within the answer, too"
BROKEN_BYTES = "byte tokens that are no UTF-8: the engine gives U+FFFD for each, or leaves them out"


def named_exception(tokenizer: ModelTokenizer, case: Case, ours: Outcome, theirs: Outcome | None) -> str | None:
    """The name of a case's known difference, or None.

    Args:
        theirs: the engine's outcome, or None if its detokenizer failed.
    """
    skip = case.sampling.skip_special_tokens
    if tokenizer.backend.decode(case.prompt, skip_special_tokens=skip).endswith(BROKEN):
        return PROMPT_ENDS_BROKEN
    same_end = theirs is not None and (ours.tokens, ours.stop) == (theirs.tokens, theirs.stop)
    if same_end and theirs is not None and ours.text.startswith(theirs.text) and ours.text.endswith(BROKEN):
        return ENDS_BROKEN
    if any(_is_broken(data) for data in _byte_runs(tokenizer, [*case.prompt, *case.ids[: ours.tokens]], skip)):
        return BROKEN_BYTES
    if tokenizer.table.strips > 1:
        return STRIPS_AGAIN
    return None


def _byte_runs(tokenizer: ModelTokenizer, ids: list[int], skip: bool) -> list[bytes]:
    """The bytes of successive byte tokens."""
    table = tokenizer.table
    left_out = table.absent | (table.special if skip else frozenset())
    names = [str(tokenizer.backend.id_to_token(i)) for i in ids if i not in left_out]
    runs = [list(run) for byte, run in groupby(names, is_byte) if byte]
    return [bytes(int(name[3:5], 16) for name in run) for run in runs]


def _is_broken(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False
