"""Drafts: answers on their way, durable token by token, until each becomes one entry of the log."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from weightwarden.logger.store.changes import Change, DraftTokens, Entry
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import DRAFT, DRAFT_TOKENS
from weightwarden.logger.store.tree import stored_bytes

TOKEN_BYTES = 4


@dataclass(frozen=True)
class LeftDraft:
    """What an earlier process left of a draft: what its record was to be, and its tokens (int32, little-endian)."""

    payload: bytes
    tokens: bytes


class Draft:
    """An answer on its way: its tokens are durable before anybody else sees them, and it becomes one entry.

    `confirmed` says whether anything of it is known to be durable. Used by one task. After a failure what was confirmed
    stays; the tokens of the failed call may or may not be there.
    """

    def __init__(self, durably: Callable[[Change], Awaitable[int | None]], number: int, payload: bytes) -> None:
        self._durably, self._number, self._payload = durably, number, payload
        self._tokens = 0
        self._begun = False
        self.confirmed = self._asked_to_end = False

    async def extend(self, tokens: bytes) -> None:
        """Add tokens (int32, little-endian), and wait until they are durable.

        Raises:
            LogWriteError, LogForked, LogClosed.
        """
        payload = None if self._begun else self._payload
        self._begun = True
        await self._durably(DraftTokens(self._number, self._tokens, tokens, payload))
        self._tokens += len(tokens) // TOKEN_BYTES
        self.confirmed = True

    async def end(self, payload: bytes) -> None:
        """Make it an entry, and wait until that is durable. After a failure it may be called again: there is one entry.

        Raises:
            LogWriteError, LogForked, LogClosed. LogCorrupt: somebody else removed it.
        """
        first, self._asked_to_end = not self._asked_to_end, True
        index = await self._durably(Entry(payload, self._number if self._begun else None))
        if index is None and first and self.confirmed:
            raise LogCorrupt(f"draft {self._number} is gone, whose tokens were durable")


def first_free(connection: Connection) -> int:
    """A number that no draft has."""
    last = connection.execute(select(func.max(DRAFT.c.id))).scalar()
    return 0 if last is None else int(last) + 1


def left_behind(connection: Connection) -> dict[int, LeftDraft]:
    """All drafts that are there, by number.

    Raises:
        LogCorrupt: tokens of one are missing.
    """
    payloads = connection.execute(select(DRAFT.c.id, DRAFT.c.payload)).all()
    tokens: dict[int, bytes] = {number: b"" for number, _ in payloads}
    order = (DRAFT_TOKENS.c.draft, DRAFT_TOKENS.c.at)
    for number, at, some in connection.execute(select(*order, DRAFT_TOKENS.c.tokens).order_by(*order)):
        if at * TOKEN_BYTES != len(tokens[number]):
            raise LogCorrupt(f"tokens of draft {number} are missing before position {at}")
        tokens[number] += stored_bytes(some, f"draft {number}")
    return {number: LeftDraft(stored_bytes(one, f"draft {number}"), tokens[number]) for number, one in payloads}
