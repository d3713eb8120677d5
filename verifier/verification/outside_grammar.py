"""The reason that a token outside its request's grammar is, in words."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np

from weightwarden.logger.record import Grammar, Record
from weightwarden.text import printable
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.record_verdict import TokenDetail

_LIBRARY = "llguidance"
_KINDS = {
    "json": "JSON schema",
    "regex": "regular expression",
    "choice": "list of choices",
    "grammar": "Lark grammar",
}


def outside_grammar_reason(record: Record, detail: TokenDetail, tokenizer: Tokenizer) -> str | None:
    """The reason to flag a record with a token outside its grammar; None if there is no such token."""
    if record.grammar is None or not detail.outside_grammar.any():
        return None
    position = int(np.flatnonzero(detail.outside_grammar)[0])
    token = record.output_token_ids[position]
    return (
        f"outside the grammar: token {token} ({printable(tokenizer.token_text(token))!r}) at position {position} is"
        f" none that {_named(record.grammar)} allows there; a server with another grammar library shows the same"
    )


def _named(grammar: Grammar) -> str:
    """The grammar: kind, the server's backend, and the library that judges."""
    try:
        judged_by = f"{_LIBRARY} {version(_LIBRARY)}"
    except PackageNotFoundError:
        judged_by = _LIBRARY
    return (
        f"the request's {_KINDS[grammar.kind]} ({grammar.backend} {printable(grammar.version)} by the record, verified"
        f" with {judged_by})"
    )
