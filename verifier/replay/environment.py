"""Environment of a replay: the processor and the software that computed it, for reports."""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, runtime_checkable

from weightwarden.verifier.replay.replay import ReplayFacts
from weightwarden.verifier.replay.vllm.processor import this_processor

PACKAGES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, kw_only=True)
class ReplayEnvironment:
    """Processor and software of a replay.

    Attributes:
        processor: name of the processor or GPU that computed the logits; None where a replay server computed them.
        software: version by name of the software that computed the logits and candidates.
    """

    processor: str | None
    software: dict[str, str]


@runtime_checkable
class ServedReplayer(Protocol):
    """A replayer whose logits a replay server computes; `version` is the server's."""

    version: str


def environment_of(replayer: ReplayFacts) -> ReplayEnvironment:
    """The environment of a replayer in this process."""
    software = {"python": platform.python_version()}
    for name in PACKAGES:
        if name in sys.modules:  # a replayer over HTTP does not load torch
            try:
                software[name] = version(name)
            except PackageNotFoundError:
                continue
    if replayer.implementation == "vllm-local":
        software["vllm"] = sys.modules["vllm"].__version__
    if isinstance(replayer, ServedReplayer):
        return ReplayEnvironment(processor=None, software={"vllm": replayer.version, **software})
    return ReplayEnvironment(processor=_processor(replayer.device), software=software)


def _processor(device: str) -> str:
    if device.startswith("cuda") and "torch" in sys.modules:
        name: str = sys.modules["torch"].cuda.get_device_name(device)
        return name
    return this_processor({}).name
