"""A run: the verification of one input, with the contents of its reports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from weightwarden.errors import WeightwardenError
from weightwarden.logger.formats.traffic_file import RETOKENISED_MEANS
from weightwarden.text import printable
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.environment import ReplayEnvironment
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.exposure import Exposure
from weightwarden.verifier.verification.run_input import RunInput
from weightwarden.verifier.verification.run_verdict import Verification, verify
from weightwarden.verifier.verification.token_frame import TokenFrame

if TYPE_CHECKING:
    import pyarrow


RunVerdict = Literal["alarm", "incomplete", "inconclusive", "clear"]


def run_verdict(*, alarm: bool, unverifiable: int, conclusive: bool) -> RunVerdict:
    """The verdict of a run (`Run.verdict`)."""
    if alarm:
        return "alarm"
    if unverifiable:
        return "incomplete"
    return "clear" if conclusive else "inconclusive"


class NoTokensKept(WeightwardenError, ValueError):
    """Scores of single tokens were requested from a run that kept verdicts only."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The verification of one input.

    Attributes:
        verification: verdicts of the records, judged as one run.
        exposure: rates, and bandwidth bounds of the answers in bits.
        policy: the policy that judged the records.
        given: the records and their source.
        model_path: folder of the replayed model.
        model_digest: SHA-256 that identifies the model.
        dtype: dtype of the replay.
        device: device of the replay.
        tokenizer: converts token ids to text.
        environments: processors and software of the replay, each once.
        workers: number of workers that replayed.
        deaths: workers that crashed during the run.
        tokens: scores and verdicts of every token, if they were kept.
    """

    verification: Verification
    exposure: Exposure
    policy: BasePolicy
    given: RunInput
    model_path: str
    model_digest: str
    dtype: str
    device: str
    tokenizer: Tokenizer
    environments: tuple[ReplayEnvironment, ...]
    workers: int
    deaths: int
    tokens: TokenFrame | None = None

    @property
    def verdict(self) -> RunVerdict:
        """The verdict.

        "alarm"; "incomplete" where a record has no verdict; "inconclusive" where so few records of many were audited
        that no bound says anything about the others; or "clear".
        """
        return run_verdict(
            alarm=self.verification.alarm,
            unverifiable=len(self.verification.unverifiable),
            conclusive=self.exposure.conclusive,
        )

    @property
    def retokenised(self) -> str | None:
        """Warning about re-tokenised records; None where there is none."""
        count = self.given.retokenised
        if not count:
            return None
        return f"{count} of {self.verification.records} records were re-tokenised from text: {RETOKENISED_MEANS}"

    @property
    def run_p_value(self) -> str:
        """The run's p-value in words."""
        return bound_text(self.verification.run_p_value)

    def token_text(self, token: int) -> str:
        """The text of one token, with control characters made visible."""
        return printable(self.tokenizer.token_text(token))

    def tokens_frame(self) -> "pyarrow.Table":
        """A table with one row a token (`TokenFrame`), for `to_pandas()` or `polars.from_arrow`.

        Raises:
            NoTokensKept: the run did not keep its tokens, for example a run of a command.
        """
        if self.tokens is None:
            raise NoTokensKept("this run kept no tokens: weightwarden.verify keeps them")
        return self.tokens.table()


def run_of(
    executor: Executor,
    given: RunInput,
    progress: Callable[[int], None] | None = None,
) -> Run:
    """The run of an input.

    Args:
        executor: judges the records.
        given: the records.
        progress: called with the number of output tokens just replayed.

    Raises:
        NothingToVerify: the input has no record, or none with a token.
        PolicyError: the policy was made for another scheme or engine.
    """
    executor.progress = progress
    verification = verify(executor, given.records())
    replayer = executor.replayer
    return Run(
        verification=verification,
        exposure=Exposure.of(verification.charges, given.audited, executor.policy, verification.vocabulary),
        policy=executor.policy,
        given=given,
        model_path=str(replayer.identity.path),
        model_digest=replayer.identity.digest,
        dtype=replayer.dtype,
        device=replayer.device,
        tokenizer=replayer.tokenizer,
        environments=executor.environments,
        workers=executor.workers,
        deaths=executor.deaths,
    )
