"""The timing of the checked archives' answers: all of them, audited or not."""

from sqlalchemy import ColumnElement, Connection, func, select

from weightwarden.verifier.server.database.schema import ARCHIVE
from weightwarden.verifier.verification.series_timing import SeriesTiming


def timing_seen(connection: Connection, *where: ColumnElement[bool]) -> SeriesTiming:
    """The timing of the checked archives that meet all conditions."""
    columns = (ARCHIVE.c.records, ARCHIVE.c.paced_records, ARCHIVE.c.paced_tokens, ARCHIVE.c.timing_bits)
    sums = (func.coalesce(func.sum(column), 0) for column in columns)
    there = select(*sums).where(ARCHIVE.c.checked.is_not(None), *where)
    records, paced, tokens, bits = connection.execute(there).one()
    return SeriesTiming(
        records=int(paced), tokens=int(tokens), bits=float(bits), open_records=int(records) - int(paced)
    )
