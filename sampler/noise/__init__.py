"""Gumbel noise of each engine, as a pure function of the seed, the position and the token id."""

from sampler.errors import UnknownScheme
from sampler.noise.base import GumbelNoise
from sampler.noise.vllm_cpu import VllmCpuNoise
from sampler.noise.vllm_v1 import VllmV1Noise
from sampler.noise.vllm_v2 import VllmV2Noise

__all__ = ["GumbelNoise", "gumbel_noise"]


def gumbel_noise(scheme_name: str, vocabulary: int) -> GumbelNoise:
    """Noise of a scheme that draws the argmax of perturbed logits, for a vocabulary of that many tokens.

    Raises:
        UnknownScheme: the scheme is not one of those that add Gumbel noise.
    """
    if scheme_name == VllmCpuNoise.name:
        return VllmCpuNoise(vocabulary)
    if scheme_name == VllmV2Noise.name:
        return VllmV2Noise(vocabulary)
    if scheme_name == VllmV1Noise.name:
        return VllmV1Noise(vocabulary)
    known = ", ".join((VllmCpuNoise.name, VllmV2Noise.name, VllmV1Noise.name))
    raise UnknownScheme(f"scheme {scheme_name!r} draws no Gumbel noise; those that do: {known}")
