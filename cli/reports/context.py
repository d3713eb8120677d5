"""What all reports are made of."""

from dataclasses import dataclass

from weightwarden.cli.inputs.run_input import Input
from weightwarden.logger.formats.traffic_file import RETOKENISED_MEANS
from weightwarden.text import printable
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.scoring.record_evidence import bound_text
from weightwarden.verifier.types import Tokenizer
from weightwarden.verifier.verification.exposure import Exposure
from weightwarden.verifier.verification.run_verdict import Verification


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """One verification, and what it was a verification of."""

    verification: Verification
    exposure: Exposure
    policy: BasePolicy
    given: Input
    model_path: str
    model_digest: str
    dtype: str
    device: str
    tokenizer: Tokenizer
    workers: int
    deaths: int

    @property
    def verdict(self) -> str:
        """ "alarm"; "incomplete" where a record has no verdict; or "clear"."""
        if self.verification.alarm:
            return "alarm"
        return "incomplete" if self.verification.set_aside else "clear"

    @property
    def retokenised(self) -> str | None:
        """What it means that records were re-tokenised, or None where none was."""
        count = self.given.retokenised
        if not count:
            return None
        return f"{count} of {self.verification.records} records were re-tokenised from text: {RETOKENISED_MEANS}"

    @property
    def run_p_value(self) -> str:
        """The run's p-value in words."""
        return bound_text(self.verification.run_p_value)

    def token_text(self, token: int) -> str:
        """One token's text, with whatever could steer a terminal or hide in a page made visible."""
        return printable(self.tokenizer.token_text(token))
