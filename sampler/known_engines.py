"""The engines and versions with which each sampling scheme was compared.

No arrays, so that the logger can import it.
"""

import re
from dataclasses import dataclass

from weightwarden.sampler.schemes import SCHEMES

_AFTER = r"(\.post[0-9]+)?(\+[a-z0-9.]+)?"
"""Beside a released version: a later package of it, or a local build. Development versions follow another release."""


@dataclass(frozen=True)
class Compared:
    """An engine, and those of its versions that draw as a scheme was seen to draw.

    Attributes:
        engine: name of the engine, in lower case.
        versions: the versions, in words.
        pattern: regular expression of the versions.
    """

    engine: str
    versions: str
    pattern: str

    def holds(self, engine: str, version: str) -> bool:
        """True for this engine in one of these versions."""
        return engine.lower() == self.engine and re.fullmatch(self.pattern, version) is not None


_VLLM = Compared("vllm", "0.32.x", r"0\.32(\.[0-9]+)?" + _AFTER)
_SGLANG = Compared("sglang", "0.5.23 and later of 0.5", r"0\.5\.(2[3-9]|[3-9][0-9]|[1-9][0-9]{2,})" + _AFTER)
_SGLANG_RANKED = Compared("sglang", "0.5.23", r"0\.5\.23" + _AFTER)
_LLAMA_CPP = Compared("llama.cpp", "of any version", r".*")

COMPARED: dict[str, Compared | None] = {
    **{name: _VLLM for name in SCHEMES if name.startswith("vllm-")},
    "sglang": _SGLANG,
    "sglang-ranked": _SGLANG_RANKED,
    "inverse-cdf": _LLAMA_CPP,
    "greedy": None,
}
"""What each scheme was compared with; None where any engine draws alike, since nothing is drawn."""


def unlisted(scheme: str, engine: str, version: str) -> str | None:
    """The reason why an engine and version are not known to draw by a scheme, and what to do; None if they are.

    Args:
        scheme: name of a scheme.
        engine: name of the engine, in any case.
        version: its version.
    """
    compared = COMPARED[scheme]
    if compared is None or compared.holds(engine, version):
        return None
    return (
        f"scheme {scheme} was compared with {compared.engine} {compared.versions}, not with {engine} {version}, which"
        " may draw otherwise: verify probe --url URL shows the scheme of a running server"
    )
