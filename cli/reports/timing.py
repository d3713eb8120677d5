"""The timing of a run's records: what the moments of their answers could have carried, as text and as JSON."""

from typing import Any

from weightwarden.cli.reports.bounds import BoundRow, says_something
from weightwarden.verifier.scoring.release_ledger import ReleaseTable
from weightwarden.verifier.statistics.rounding import upper_bytes, upper_fixed
from weightwarden.verifier.verification.run import Run

OPEN = "OPEN"
_HOW = (
    "`sidecar run --release-pace` has it recorded. With --release-tick `verify estimate --tokens-per-tick` bounds it"
    " loosely; without either nothing does."
)


def timing_rows(context: Run) -> list[BoundRow]:
    """The timing of all records, and, where all of it is on record, the sum with the bound that counts."""
    table, exposure = context.given.releases, context.exposure
    rows = [BoundRow("timing", "not drawn", _limit(table), timing_sentence(table))]
    leading = exposure.leading
    if table.state == "paced" and says_something(context, leading):
        bits = leading.limit.bits + table.bits
        rows.append(
            BoundRow(
                "tokens, ends and timing",
                "",
                f"at most {upper_fixed(bits / exposure.total_tokens, 4)} ({upper_bytes(bits)} in"
                f" {exposure.total_tokens:,} tokens)",
                f"The {exposure.leading_code} bound of tokens and ends, those of refused and failed requests among"
                " them, and the timing, added up. Readiness is not on record: at most one bit a period, which `verify"
                " estimate` adds.",
            )
        )
    return rows


def timing_sentence(table: ReleaseTable) -> str:
    """The limit of the timing in words, or where it is open."""
    if table.state == "open":
        return f"No record holds the moments at which its answer left. {_HOW}"
    shares = (
        f"start slots {_bits(table.slot_bits)}, underruns {_bits(table.underrun_bits)} ({table.underruns:,} of"
        f" {table.ticks:,} ticks), ends {_bits(table.end_bits)}"
    )
    if table.unknown_bits:
        shares += f", what left unknown {_bits(table.unknown_bits)} ({table.unknown_records:,} records)"
    all_of = "all" if table.state == "paced" else f"the {table.records:,} records that hold them, of"
    total = table.records + table.open_records
    said = (
        f"For {all_of} {total:,} records, audited or not, and without a draw: the moments at which the sidecar let"
        f" tokens leave carried at most this: {shares}. How far the sidecar's writes miss their ticks is not in it."
    )
    if table.state == "paced":
        return said
    return f"{said} OPEN for the other {table.open_records:,}: nothing holds their moments. {_HOW}"


def timing_contents(table: ReleaseTable) -> dict[str, Any]:
    """The timing, as JSON (`weightwarden.cli.reports.contents.Timing`)."""
    names = ("state", "records", "open_records", "tokens", "ticks", "underruns")
    bits = ("slot_bits", "underrun_bits", "end_bits", "unknown_bits", "bits", "bits_per_token")
    return {
        **{name: getattr(table, name) for name in (*names, *bits)},
        "counts": {
            "start_slots": table.records_s.tolist(),
            "unknown_records": table.unknown_records,
            "unknown_groups": table.unknown_groups,
            "two_way_ends": table.two_way_ends,
            "groups": table.groups_u.tolist(),
            "runs": table.runs_up.tolist(),
            "underruns": table.underruns_u.tolist(),
            "records": table.records_u.tolist(),
        },
    }


def _limit(table: ReleaseTable) -> str:
    """The limit of the timing, bits a token; that it is open where it is."""
    if table.bits_per_token is None:
        return OPEN if table.open_records else f"at most {upper_bytes(table.bits)}"
    limit = f"at most {upper_fixed(table.bits_per_token, 4)} ({upper_bytes(table.bits)} in {table.tokens:,} tokens)"
    return limit if table.state == "paced" else f"{OPEN} for {table.open_records:,} records; for the others {limit}"


def _bits(bits: float) -> str:
    return f"{upper_fixed(bits, 1)} bits"
