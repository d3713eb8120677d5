"""The engine behind a probed server: the version that it states, whether its scheme is a known pair, and a profile."""

from dataclasses import dataclass

import tomli_w

from weightwarden.sampler.known_engines import COMPARED
from weightwarden.text import printable

UNKNOWN_ENGINE = "unknown"
_DRAFT = """\
# Draft of an engine profile, by verify probe: it holds what the probe found. Complete it from the server's options.
{known}
# version = ""                        # the engine's version, if it is not above
# runner = "V2"                       # vLLM: V1 or V2, as its start-up log says
# dtype = "bfloat16"                  # required: dtype of weights and activations
# quantization = "fp8"                # method by which the weights are quantised, if they are
# kv_cache_dtype = "auto"
# tensor_parallel = 1
# attention_backend = "FLASH_ATTN"
# batch_invariant = false
# grammar_backend = "guidance==1.7.6" # if the server is pinned to it
# adapters = false                    # whether it serves low-rank adapters

# [speculation]                       # if it speculates
# method = "ngram"
# tokens = 4
# acceptance = "coupled"              # or greedy, or one-hot
"""


@dataclass(frozen=True, kw_only=True)
class ProbedEngine:
    """The engine of a server whose scheme was named.

    Attributes:
        scheme: the scheme by which it draws.
        version: its version as the server or the operator states it, or None.
    """

    scheme: str
    version: str | None

    @property
    def name(self) -> str:
        """The engine that the scheme is of."""
        compared = COMPARED[self.scheme]
        return UNKNOWN_ENGINE if compared is None else compared.engine

    @property
    def listed(self) -> bool | None:
        """Whether the scheme was compared with this engine and version; None if the version is not known."""
        compared = COMPARED[self.scheme]
        if compared is None:
            return True
        return None if self.version is None else compared.holds(compared.engine, self.version)

    def __str__(self) -> str:
        """One sentence: whether engine, version and scheme are a known pair."""
        compared = COMPARED[self.scheme]
        if compared is None:
            return f"Any engine can have scheme {self.scheme}: nothing is drawn."
        only = f"scheme {self.scheme} was compared with {compared.engine} {compared.versions}"
        if self.version is None:
            return (
                f"Not known whether this is a known pair: {only}, and the server states no version (--engine-version)."
            )
        pair = f"{compared.engine} {printable(self.version)}"
        if self.listed:
            return f"A known pair: {only}, and this is {pair} by what is stated."
        return (
            f"Not a known pair: {only} only, and this is {pair} by what is stated: the sidecar and verify calibrate"
            " need --unlisted-engine."
        )

    def profile_draft(self) -> str:
        """The text of an engine profile that holds what is known; the rest is to be filled in."""
        known = {"engine": self.name, **({} if self.version is None else {"version": self.version})}
        return _DRAFT.format(known=tomli_w.dumps({**known, "sampler": self.scheme}).strip())
