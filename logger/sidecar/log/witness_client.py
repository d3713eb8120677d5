"""Client of one witness, which is not trusted: an answer counts only with a valid cosignature of a listed key."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

import aiohttp

from weightwarden.errors import WeightwardenError
from weightwarden.logger.sidecar.errors import SettingsError
from weightwarden.logger.tlog.checkpoint import Checkpoint
from weightwarden.logger.tlog.cosignature import Cosignature, WitnessKeys
from weightwarden.logger.tlog.signed_note import MAX_NOTE_BYTES, NoteError, SignatureError, parse_signature_lines
from weightwarden.logger.tlog.witness_protocol import PATH, SIZE_TYPE, add_checkpoint, stated_size

Cause = Literal["unreachable", "timeout", "refused", "answer", "signature", "time", "size", "fork", "proof", "log"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""Causes of failures, in fixed words."""
CLOCK_SECONDS = 300
"""Largest distance of a cosignature's time from this machine's clock."""
_SIZE_BYTES = 32

Prove = Callable[[int, Checkpoint], list[bytes]]
"""Function that returns the verified consistency proof from a size to a checkpoint. It may block."""
Signed = Callable[[int], bool]
"""Function that returns True if a checkpoint of a size was signed. It may block."""


class WitnessFailure(WeightwardenError, RuntimeError):
    """A checkpoint that a witness did not cosign.

    Attributes:
        cause: one of `CAUSES`.
    """

    def __init__(self, cause: Cause, what: str) -> None:
        super().__init__(what)
        self.cause = cause


def checked_url(url: str, number: int) -> str:
    """A witness's URL (its submission prefix), without a slash at its end. Messages do not show it.

    Args:
        url: the URL.
        number: its number among the given ones, from 1 on.

    Raises:
        SettingsError: it is no URL of a witness.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            f"witness {number}: its URL is http://... or https://..., without a user, a query or a fragment"
        )
    return url.rstrip("/")


@dataclass
class WitnessClient:
    """Client of the witness at a URL.

    Attributes:
        url: the witness's submission prefix. It may hold a secret, and is not shown.
        keys: the listed witnesses.
        clock: Unix time, seconds.
        size: size of the newest checkpoint whose cosignature was recorded; None before the first since the start.
    """

    url: str
    keys: WitnessKeys
    clock: Callable[[], float]
    size: int | None = None

    async def cosign(
        self, http: aiohttp.ClientSession, checkpoint: Checkpoint, note: bytes, prove: Prove, signed: Signed
    ) -> list[Cosignature]:
        """The witness's cosignatures of a checkpoint, at least one.

        1. Send the checkpoint with a proof from the size that the witness cosigned last, as far as it is known.
        2. If the witness states another size (409), send it once more with a proof from there.
        3. Verify the cosignatures.

        Raises:
            WitnessFailure: the witness did not cosign it.
        """
        # 1
        old = self.size or 0
        status, kind, body = await self._post(http, old, checkpoint, note, prove)
        # 2
        if status == 409:
            old = await self._size(kind, body, old, checkpoint, signed)
            status, kind, body = await self._post(http, old, checkpoint, note, prove)
            if status == 409:
                await self._size(kind, body, old, checkpoint, signed)
        if status != 200:
            raise _refusal(status, old, checkpoint)
        # 3
        return self._verified(checkpoint, body)

    async def _post(
        self, http: aiohttp.ClientSession, old: int, checkpoint: Checkpoint, note: bytes, prove: Prove
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer."""
        try:
            proof = await asyncio.to_thread(prove, old, checkpoint)
            data = add_checkpoint(old, proof, note)
        except (WeightwardenError, OSError) as error:
            raise WitnessFailure(
                "log", f"no proof from {old} to {checkpoint.size} records: {type(error).__name__}: {error}"
            ) from None
        try:
            async with http.post(f"{self.url}/{PATH}", data=data, allow_redirects=False) as response:
                limit = _SIZE_BYTES if response.status == 409 else MAX_NOTE_BYTES
                body = bytearray()
                while response.status in (200, 409) and (part := await response.content.read(limit + 1)):
                    body += part
                    if len(body) > limit:
                        raise WitnessFailure("answer", f"its answer has more than {limit} bytes")
                return response.status, response.headers.get("content-type", ""), bytes(body)
        except TimeoutError:
            raise WitnessFailure("timeout", "it did not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WitnessFailure("unreachable", f"no answer: {type(error).__name__}") from None

    async def _size(self, kind: str, body: bytes, sent: int, checkpoint: Checkpoint, signed: Signed) -> int:
        """The size that the witness states, if a proof from there can be sent."""
        try:
            if kind.partition(";")[0].strip() != SIZE_TYPE:
                raise NoteError("its content type is another")
            stated = stated_size(body)
        except NoteError as error:
            raise WitnessFailure("answer", f"its answer 409 states no size: {error}") from None
        if stated == sent == checkpoint.size:
            raise _fork(checkpoint)
        if stated > checkpoint.size:
            raise WitnessFailure(
                "fork",
                f"it states that it cosigned {stated} records of this log, which has a checkpoint of {checkpoint.size}:"
                " the database is an old copy, the key signs another history elsewhere, or the witness is wrong",
            )
        if stated == sent or stated < (self.size or 0):
            raise WitnessFailure(
                "size", f"it states that it cosigned {stated} records, and {self.size or sent} were sent or cosigned"
            )
        if stated and not await asyncio.to_thread(signed, stated):
            raise WitnessFailure("size", f"it states that it cosigned {stated} records: no checkpoint has that size")
        return stated

    def _verified(self, checkpoint: Checkpoint, body: bytes) -> list[Cosignature]:
        try:
            found = self.keys.verified(checkpoint.text(), parse_signature_lines(body.decode("utf-8")))
        except SignatureError as error:
            raise WitnessFailure("signature", str(error)) from None
        except (NoteError, UnicodeDecodeError):
            raise WitnessFailure("answer", "its answer is not the lines of valid signatures") from None
        if not found:
            raise WitnessFailure("signature", "its answer has no cosignature of a listed witness")
        now = self.clock()
        for one in found:
            if abs(one.time - now) > CLOCK_SECONDS:
                raise WitnessFailure(
                    "time", f"its cosignature is of another time, {one.time - now:+.0f} s by this machine's clock"
                )
        return found


def _fork(checkpoint: Checkpoint) -> WitnessFailure:
    return WitnessFailure("fork", f"it states that it cosigned another tree of {checkpoint.size} records of this log")


def _refusal(status: int, old: int, checkpoint: Checkpoint) -> WitnessFailure:
    match status:
        case 422 if old == checkpoint.size:
            return _fork(checkpoint)
        case 400 | 403 | 404:
            return WitnessFailure(
                "refused",
                f"it refused the checkpoint (HTTP {status}): its operator must list this log's origin and public key",
            )
        case 409:
            return WitnessFailure("size", "it stated another size twice: another process uses it for this log")
        case 422:
            return WitnessFailure(
                "proof",
                f"it states that the tree of {checkpoint.size} records does not extend the one that it cosigned",
            )
        case _:
            return WitnessFailure("answer", f"HTTP {status}")
