"""A record for an auditor: its tokens with their verdicts, and the admissible alternatives."""

from typing import Any

from sqlalchemy import Connection, select

from weightwarden.text import printable
from weightwarden.verifier.server.api.models import Alternative, RecordView, Token
from weightwarden.verifier.server.api.queries import verdict_of
from weightwarden.verifier.server.audit.stored_evidence import StoredRecord, unpack
from weightwarden.verifier.server.database.schema import ARCHIVE, EVIDENCE, VERDICT
from weightwarden.verifier.server.startup import ServerParts


def record_view(server: ServerParts, connection: Connection, position: int) -> RecordView | None:
    """The record at a position; None without a verdict."""
    row = connection.execute(select(VERDICT).where(VERDICT.c.position == position)).mappings().one_or_none()
    if row is None:
        return None
    archive = connection.execute(select(ARCHIVE.c.url, ARCHIVE.c.origin).where(ARCHIVE.c.id == row["archive"])).one()
    kept = connection.execute(
        select(EVIDENCE.c.payload, EVIDENCE.c.tokens).where(EVIDENCE.c.position == position)
    ).one_or_none()
    evidence = None if kept is None else unpack(kept.payload, kept.tokens)
    sampling = None if evidence is None else evidence.record.sampling
    return RecordView(
        verdict=verdict_of(row, with_text=server.settings.show_text),
        url=archive.url,
        origin=archive.origin,
        prompt_tokens=None if evidence is None else len(evidence.record.prompt_token_ids),
        finish_reason=None if evidence is None else evidence.record.finish_reason,
        temperature=None if sampling is None else sampling.temperature,
        top_p=None if sampling is None else sampling.top_p,
        top_k=None if sampling is None else sampling.top_k,
        tokens=[] if evidence is None else _tokens(server, evidence),
    )


def _tokens(server: ServerParts, evidence: StoredRecord) -> list[Token]:
    """The tokens. Ids are left out unless the operator shows text, since a tokenizer turns them into text."""
    shown = server.settings.show_text
    tokenizer = server.verifier.replayer.tokenizer
    forced = {position for start, end in evidence.record.forced() for position in range(start, end)}

    def named(token: int) -> dict[str, Any]:
        if not shown:
            return {"id": None, "text": None}
        return {"id": token, "text": printable(tokenizer.token_text(token))}

    return [
        Token(
            **(
                scores
                | {"alternatives": [Alternative(margin=m, **named(token)) for token, m in scores["alternatives"]]}
            ),
            **named(claimed),
            forced=position in forced,
        )
        for position, (claimed, scores) in enumerate(
            zip(evidence.record.output_token_ids, evidence.tokens, strict=bool(evidence.tokens))
        )
    ]
