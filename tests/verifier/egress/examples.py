"""An honest link with some traffic, and the log of it."""

from collections.abc import Callable, Sequence

from benchmarks.egress.wire import LINK, Tcp, Wire
from tests.logger.examples import edited
from weightwarden.logger.formats.canonical import encode_record
from weightwarden.logger.record import Record
from weightwarden.verifier.egress.account import EgressAccount
from weightwarden.verifier.egress.frames import Event
from weightwarden.verifier.egress.link import Link
from weightwarden.verifier.egress.logged_answers import LoggedAnswers
from weightwarden.verifier.egress.report import PARTS, EgressReport
from weightwarden.verifier.egress.reporting import report_of

ANSWERS = {seed: [100 * seed + at for at in range(12)] for seed in (1, 2, 3)}
"""The tokens that the server draws, by the seed."""
PROMPT = [1, 9690, 198]


def record(seed: int, ids: Sequence[int], finish: str = "length") -> bytes:
    """Canonical bytes of a record of the example's prompt."""
    fields = edited(seed=seed, prompt_token_ids=PROMPT, output_token_ids=list(ids), finish_reason=finish)
    return encode_record(Record.model_validate(fields))


def log_of(*records: bytes) -> LoggedAnswers:
    """A log of these records; by default, of all answers."""
    answers = LoggedAnswers()
    for index, data in enumerate(records or [record(seed, ids) for seed, ids in ANSWERS.items()]):
        answers.add(index, data)
    return answers


def honest(between: Callable[[Wire, Tcp], None] = lambda wire, tcp: None) -> Wire:
    """An address resolution, and a connection with a look for readiness and three answers.

    Args:
        between: what happens before the last answer.
    """
    wire = Wire()
    wire.resolve()
    tcp = Tcp(wire)
    tcp.models()
    for seed, ids in ANSWERS.items():
        if seed == 3:
            between(wire, tcp)
        tcp.ask(PROMPT, seed)
        tcp.answer(ids)
    tcp.finish()
    return wire


def accounted(events: Sequence[Event], answers: LoggedAnswers | None = None, link: Link = LINK) -> EgressReport:
    """The report about some events, in which every frame has one class."""
    account = EgressAccount(link, log_of() if answers is None else answers)
    account.add(events)
    account.finish()
    report = report_of(account)
    totals = [report.total(part) for part in PARTS]
    assert (report.frames, report.bytes) == tuple(map(sum, zip(*totals, strict=True)))
    return report
