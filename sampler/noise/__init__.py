"""Gumbel noise of each engine, as a pure function of the seed, the position and the token id (or its rank)."""

from functools import partial

from weightwarden.sampler.errors import UnknownScheme
from weightwarden.sampler.noise.base import GumbelNoise
from weightwarden.sampler.noise.sglang import SglangNoise, SglangRankedNoise
from weightwarden.sampler.noise.vllm_cpu import VllmCpuNoise
from weightwarden.sampler.noise.vllm_v1 import VllmV1Fp64Noise, VllmV1Noise
from weightwarden.sampler.noise.vllm_v1_cpu import VllmV1CpuNoise
from weightwarden.sampler.noise.vllm_v2 import VllmV2Noise
from weightwarden.sampler.noise.vllm_v2_fp64 import VllmV2Fp64Noise
from weightwarden.sampler.schemes import GPU_THREADS

__all__ = ["GUMBEL_SCHEMES", "GumbelNoise", "gumbel_noise"]

_NOISE = {
    noise.name: noise
    for noise in (
        VllmCpuNoise,
        VllmV2Noise,
        VllmV2Fp64Noise,
        VllmV1Noise,
        VllmV1Fp64Noise,
        VllmV1CpuNoise,
        SglangNoise,
        SglangRankedNoise,
    )
}
_OF_GPU = {
    f"{VllmV1Noise.name}-{gpu}": partial(VllmV1Noise, gpu_threads=threads) for gpu, threads in GPU_THREADS.items()
}
_SPECULATING = {"vllm-v2-one-hot": VllmV2Noise}
GUMBEL_SCHEMES = (*_NOISE, *_OF_GPU, *_SPECULATING)
"""Names of the schemes with Gumbel noise: they draw the argmax of perturbed logits, wherever no draft is accepted."""


def gumbel_noise(scheme_name: str, vocabulary: int) -> GumbelNoise:
    """Gumbel noise of a scheme that draws the argmax of perturbed logits, for a vocabulary of that many tokens.

    Raises:
        UnknownScheme: the scheme adds no Gumbel noise, or does not support a vocabulary of this size.
    """
    make = (_NOISE | _OF_GPU | _SPECULATING).get(scheme_name)
    if make is None:
        raise UnknownScheme(f"scheme {scheme_name!r} draws no Gumbel noise; those that do: {', '.join(GUMBEL_SCHEMES)}")
    return make(vocabulary)
