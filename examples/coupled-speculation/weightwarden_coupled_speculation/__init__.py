"""A plugin of vLLM 0.32: with speculative decoding, the tokens are those that the seed draws without it.

vLLM logs an error of a plugin's import and goes on, and raises an error of its function. So this file imports nothing
that can fail, and `register` does and checks everything.
"""

import inspect
import logging
from typing import Any

VERSIONS = "0.32."
"""Beginning of the versions of vLLM whose sampler and kernels this plugin was compared with."""

_log = logging.getLogger("vllm.weightwarden_coupled_speculation")


class CoupledSpeculationError(RuntimeError):
    """An engine whose speculation cannot be coupled to the seeded draw; it must not start."""


def register() -> None:
    """Replace the rejection sampling of vLLM's V2 model runner, and forbid every other one. A second call does nothing.

    Raises:
        CoupledSpeculationError: this vLLM is not the one that the plugin was compared with.
    """
    import vllm

    if not vllm.__version__.startswith(VERSIONS):
        raise CoupledSpeculationError(
            f"weightwarden-coupled-speculation was compared with vLLM {VERSIONS}x, and this is {vllm.__version__}"
        )
    from vllm.v1.sample import rejection_sampler as v1
    from vllm.v1.worker.gpu.spec_decode import rejection_sampler as v2

    from weightwarden_coupled_speculation.acceptance import coupled_rejection_sample

    if v2.rejection_sample is coupled_rejection_sample:
        return
    _check("rejection_sample", v2.rejection_sample, coupled_rejection_sample)
    if "rejection_sample" not in v2.RejectionSampler._verify.__code__.co_names:
        raise CoupledSpeculationError("vLLM's RejectionSampler does not call the rejection_sample that is replaced")
    v2.rejection_sample = coupled_rejection_sample
    _guard(v2.RejectionSampler, _check_v2)
    _guard(v1.RejectionSampler, _refuse_v1)
    _log.info("Speculative decoding is coupled to the seeded draw (vLLM %s)", vllm.__version__)


def _check(name: str, theirs: Any, ours: Any) -> None:
    expected, found = list(inspect.signature(ours).parameters), list(inspect.signature(theirs).parameters)
    if found != expected:
        raise CoupledSpeculationError(f"vLLM's {name} takes {found}, and the plugin's {expected}")


def _guard(sampler: type[Any], check: Any) -> None:
    """Have a check see the arguments of a class's constructor before the constructor does."""
    construct = sampler.__init__

    def __init__(self: Any, *arguments: Any, **named: Any) -> None:
        check(inspect.signature(construct).bind(self, *arguments, **named).arguments)
        construct(self, *arguments, **named)

    sampler.__init__ = __init__


def _check_v2(arguments: Any) -> None:
    config = arguments["spec_config"]
    if config.rejection_sample_method != "standard":
        raise CoupledSpeculationError(
            f"coupled speculation replaces rejection_sample_method 'standard', and this server's is "
            f"{config.rejection_sample_method!r}"
        )
    if config.enable_adaptive_verification:
        raise CoupledSpeculationError("coupled speculation was not compared with enable_adaptive_verification")
    if arguments.get("watermark_key") is not None:
        raise CoupledSpeculationError("coupled speculation draws no watermarks")


def _refuse_v1(arguments: Any) -> None:
    raise CoupledSpeculationError(
        "coupled speculation needs vLLM's V2 model runner (VLLM_USE_V2_MODEL_RUNNER=1), and this server speculates "
        "with the V1 runner, whose draws depend on the steps' boundaries"
    )
