"""The inference server's grammar backend, as its operator names it."""

import re
from dataclasses import dataclass

from weightwarden.errors import WeightwardenError
from weightwarden.logger.record import Grammar
from weightwarden.text import printable

GUIDANCE = "guidance"
PINNED = '--structured-outputs-config \'{"backend": "guidance"}\''
"""Option with which a vLLM server uses that backend for every request."""
COMPARED = ("1.7.6",)
"""Versions of llguidance on servers whose masks the verifier's are known to equal.

1.9.1 is not one: in a grammar with several JSON schemas, as of several tools, it allows white space before a value.
"""
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9.]+)?")
_OTHERS = {
    "auto": "the server would choose by the first request that it saw, and not by the request",
    "xgrammar": "it allows special tokens within JSON strings, and the verifier does not have it",
    "outlines": "the verifier does not have it",
    "lm-format-enforcer": "the verifier does not have it",
}


class BackendRefused(WeightwardenError, ValueError):
    """A grammar backend that cannot be used, or that is not named as NAME==VERSION."""


@dataclass(frozen=True)
class GrammarBackend:
    """A server's grammar backend.

    Attributes:
        version: version of its library (llguidance) on the server.
    """

    version: str

    @classmethod
    def parse(cls, text: str) -> "GrammarBackend":
        """The backend of `guidance==VERSION`.

        Raises:
            BackendRefused: the text names another backend, or no version.
        """
        name, equals, version = text.partition("==")
        if name in _OTHERS:
            raise BackendRefused(
                f"{name}: grammars of this backend cannot be verified: {_OTHERS[name]}; pin the server to {GUIDANCE}"
                f" ({PINNED}), and give {GUIDANCE}==VERSION"
            )
        if name != GUIDANCE or not equals or len(version) > 64 or not _VERSION.fullmatch(version):
            raise BackendRefused(
                f"{printable(text)}: not {GUIDANCE}==VERSION, with the version of llguidance on the server"
                " (pip show llguidance), e.g. guidance==1.7.6"
            )
        return cls(version)

    def __str__(self) -> str:
        return f"{GUIDANCE}=={self.version}"

    def grammar(self, kind: str, text: str) -> Grammar:
        """A grammar as a record holds it."""
        return Grammar.model_validate({"kind": kind, "text": text, "backend": GUIDANCE, "version": self.version})
