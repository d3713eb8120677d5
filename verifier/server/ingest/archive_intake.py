"""Intake of an archive during its check: its records are counted, and the drawn ones queued for replay."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select

from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.reader import Archive
from weightwarden.logger.formats.canonical import RecordEncodingError, decode_record
from weightwarden.logger.record import Record
from weightwarden.text import printable
from weightwarden.verifier.audit_selection import AuditDraw
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.model.compatibility import UnfitRecord, check_fits
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter
from weightwarden.verifier.server.database.leases import Membership
from weightwarden.verifier.server.database.schema import SERIES, TASK
from weightwarden.verifier.statistics.sampling_design import END_TOKENS, UNIT_TOKENS
from weightwarden.verifier.verification.executor import Executor

PAGE_RECORDS = 256
"""Number of selected records that are queued in one transaction."""


class UnfitArchive(WeightwardenError, ValueError):
    """An archive has records that cannot be verified here.

    Attributes:
        kind: the reason, in one word.
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(kw_only=True)
class ArchiveIntake:
    """Intake of one archive's records.

    Attributes:
        number: number of the archive in the database.
        archive: the archive.
        draw: draw of the archive's records.
        base: position of the archive's first selected record.
        start_index: index in the log of the first record that is followed.
        model: the model that all records name.
        unfit: the first reason why records cannot be verified here.
        tokens: output tokens.
        cost: output and prompt tokens.
        unit_cost: expected `cost` of the selected records at rate 1 by tokens, did no probability end at 1.
        selected: number of selected records.
        selected_tokens: output tokens of the selected records.
        selected_cost: output and prompt tokens of the selected records.
        unaudited: number of followed records that were not selected, by their output tokens.
        releases: releases of all records.
        page: selected records that are not queued yet.
    """

    membership: Membership
    verifier: Executor
    draw: AuditDraw
    number: int
    archive: Archive
    base: int
    start_index: int
    model: str | None = field(default=None, init=False)
    unfit: UnfitArchive | None = field(default=None, init=False)
    tokens: int = field(default=0, init=False)
    cost: int = field(default=0, init=False)
    unit_cost: float = field(default=0.0, init=False)
    selected: int = field(default=0, init=False)
    selected_tokens: int = field(default=0, init=False)
    selected_cost: int = field(default=0, init=False)
    unaudited: Counter[int] = field(default_factory=Counter, init=False)
    releases: ReleaseCounter = field(default_factory=ReleaseCounter, init=False)
    page: list[dict[str, Any]] = field(default_factory=list, init=False)

    def keep(self, _: Archive, index: int, entry: bytes) -> None:
        """Take a record, if all before it could be verified here."""
        if self.unfit is not None:
            return
        try:
            record = self._fit(index, entry)
        except UnfitArchive as error:
            self.unfit = error
            return
        tokens = len(record.output_token_ids)
        cost = len(record.prompt_token_ids) + tokens
        self.tokens += tokens
        self.releases.add(record)
        self.cost += cost
        self.unit_cost += cost * (tokens + END_TOKENS) / UNIT_TOKENS
        if index < self.start_index:
            return
        if not self.draw.selects(self.archive.checkpoint.root, index, tokens):
            self.unaudited[tokens] += 1
            return
        self.page.append(
            {
                "position": self.base + self.selected,
                "archive": self.number,
                "index": index,
                "cost": cost,
                "tokens": tokens,
                "payload": entry,
                "attempts": 0,
                "due": 0.0,
            }
        )
        self.selected += 1
        self.selected_tokens += tokens
        self.selected_cost += cost
        if len(self.page) == PAGE_RECORDS:
            self._write_page()

    def _fit(self, index: int, entry: bytes) -> Record:
        """The record of an entry, if it can be verified here.

        Raises:
            UnfitArchive: it cannot.
        """
        try:
            record = decode_record(entry)
        except RecordEncodingError as error:
            raise UnfitArchive("record", f"record {index}: {error}") from None
        try:
            self.verifier.policy.check_scheme(record)
        except PolicyError as error:
            raise UnfitArchive("scheme", f"record {index}: {error}") from None
        try:
            check_fits(record, self.verifier.replayer.identity)
        except UnfitRecord as error:
            raise UnfitArchive("model", f"record {index}: {error}") from None
        if self.model is None:
            with self.membership.database.reading() as connection:
                self.model = connection.execute(select(SERIES.c.model_name)).scalar_one() or record.model
        if record.model != self.model:
            raise UnfitArchive(
                "model", f"record {index}: model: {printable(record.model)}, not {printable(self.model)}"
            )
        return record

    def _write_page(self) -> None:
        with self.membership.database.writing() as connection:
            self.membership.require(connection, "follow")
            connection.execute(insert(TASK), self.page)
        self.page = []
