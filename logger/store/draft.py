"""Drafts: answers under way, durable token by token, until each becomes one record of the log."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from weightwarden.logger.request_stamp import RequestStamp
from weightwarden.logger.store.changes import Change, DraftTokens, Entry
from weightwarden.logger.store.errors import LogCorrupt
from weightwarden.logger.store.schema import DRAFT, DRAFT_TOKENS
from weightwarden.logger.store.stamps import stored_stamp
from weightwarden.logger.store.tree import stored_bytes

TOKEN_BYTES = 4
_ORDER, _TOKENS = (DRAFT_TOKENS.c.draft, DRAFT_TOKENS.c.at), DRAFT_TOKENS.c.tokens


@dataclass(frozen=True)
class LeftDraft:
    """A draft that an earlier process left.

    Attributes:
        payload: its record, without tokens or with its first ones.
        tokens: its tokens (int32, little-endian).
        stamp: its request and the time of its begin, or None.
    """

    payload: bytes
    tokens: bytes
    stamp: RequestStamp | None = None


class Draft:
    """An answer under way. Its tokens are durable before they are released, and it becomes one record.

    `confirmed` is True once any of it is known to be durable. Used by one task. After a failure, confirmed tokens stay;
    the tokens of the failed call may or may not be in the log.
    """

    def __init__(
        self,
        durably: Callable[[Change], Awaitable[int | None]],
        number: int,
        payload: bytes,
        stamp: RequestStamp | None = None,
    ) -> None:
        self._durably, self._number, self._payload, self._stamp = durably, number, payload, stamp
        self._tokens = 0
        self._begun = False
        self.confirmed = self._asked_to_end = False

    async def extend(self, tokens: bytes, payload: bytes | None = None) -> None:
        """Add tokens (int32, little-endian), and wait until they are durable.

        Args:
            tokens: the tokens.
            payload: the draft's record from now on, with all tokens so far; durable together with the tokens.

        Raises:
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
        """
        begins, self._begun = not self._begun, True
        first = self._payload if begins else None
        await self._durably(DraftTokens(self._number, self._tokens, tokens, first, self._stamp, payload))
        self._tokens += len(tokens) // TOKEN_BYTES
        self.confirmed = True

    async def end(self, payload: bytes, time: int | None = None) -> int | None:
        """Make the draft a record, and wait until it is durable. A second call after a failure adds no second record.

        Args:
            payload: the record.
            time: Unix time of the answer's end, milliseconds. None: the time of the draft's stamp.

        Returns:
            The record's index, or None if an earlier call had made the record.

        Raises:
            LogWriteError: the write was not confirmed.
            LogForked: the database lost what the writer confirmed.
            LogClosed: the writer was closed.
            LogCorrupt: another process removed the draft.
        """
        first, self._asked_to_end = not self._asked_to_end, True
        stamp = self._stamp
        if stamp is not None and time is not None:
            stamp = stamp._replace(time=time)
        index = await self._durably(Entry(payload, self._number if self._begun else None, stamp))
        if index is None and first and self.confirmed:
            raise LogCorrupt(f"draft {self._number} is gone, whose tokens were durable")
        return index


def first_free(connection: Connection) -> int:
    """A number that no draft has."""
    last = connection.execute(select(func.max(DRAFT.c.id))).scalar()
    return 0 if last is None else int(last) + 1


def left_behind(connection: Connection, numbers: Collection[int] | None = None) -> dict[int, LeftDraft]:
    """Drafts in the database, by number.

    Args:
        connection: a connection.
        numbers: numbers of the drafts, or None for all.

    Raises:
        LogCorrupt: tokens of a draft are missing.
    """
    asked, held = select(DRAFT.c.id, DRAFT.c.payload, DRAFT.c.request_id, DRAFT.c.begun), select(*_ORDER, _TOKENS)
    if numbers is not None:
        asked, held = asked.where(DRAFT.c.id.in_(numbers)), held.where(DRAFT_TOKENS.c.draft.in_(numbers))
    drafts = connection.execute(asked).all()
    tokens: dict[int, bytes] = {draft.id: b"" for draft in drafts}
    for number, at, some in connection.execute(held.order_by(*_ORDER)):
        if at * TOKEN_BYTES != len(tokens[number]):
            raise LogCorrupt(f"tokens of draft {number} are missing before position {at}")
        tokens[number] += stored_bytes(some, f"draft {number}")
    return {
        draft.id: LeftDraft(
            stored_bytes(draft.payload, f"draft {draft.id}"),
            tokens[draft.id],
            None if draft.request_id is None else stored_stamp(draft.request_id, draft.begun, f"draft {draft.id}"),
        )
        for draft in drafts
    }
