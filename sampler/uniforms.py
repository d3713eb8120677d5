"""Uniform numbers of engines that compare one number with probabilities."""

import numpy as np

from weightwarden.sampler.mersenne import MersenneStream
from weightwarden.sampler.philox import philox4x32, words_of
from weightwarden.sampler.types import FloatArray

_TRITON_SCALE = np.float32(4.6566127342e-10)
"""Factor of Triton's `uint_to_uniform_float`, just below 2^-31, and vLLM's least uniform number."""


def inverse_cdf_uniforms(seed: int, output_length: int) -> FloatArray:
    """Uniforms u in [0, 1), float64 [output_length], one an output token, of scheme `inverse-cdf`.

    llama.cpp's `llama_sampler_dist`: `std::mt19937(seed)` and libstdc++'s `uniform_real_distribution<double>`, which
    is (w0 + w1 * 2^32) / 2^64 of two successive outputs (docs/sampling.md, section 8). The token drawn is the first in
    candidate order whose cumulative probability reaches u.
    """
    raw = MersenneStream(seed).take(2 * output_length).astype(np.float64)
    uniform = (raw[0::2] + raw[1::2] * 2.0**32) * 2.0**-64
    return np.minimum(uniform, np.nextafter(1.0, 0.0))


def draft_uniforms(seed: int, prompt_length: int, output_length: int) -> FloatArray:
    """Uniforms a in (0, 1), float64 [output_length], one an output position, of scheme `vllm-v2-one-hot`.

    vLLM accepts a drafted token at a position if its probability exceeds a. The number is Triton's `tl.rand(seed,
    position)`: word 0 of Philox4x32-10 with the position as counter and the seed as key, folded to 31 bits, in float32
    and at least 2^-31 (docs/sampling.md, section 4.9). The position is that of the last input token, counted from 0.

    Args:
        seed: the choice's seed.
        prompt_length: prompt tokens.
        output_length: output tokens.
    """
    positions = np.arange(prompt_length - 1, prompt_length - 1 + output_length, dtype=np.uint64)
    nothing = np.zeros_like(positions)
    key = words_of(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    word = philox4x32((*words_of(positions), nothing, nothing), key)[0].astype(np.uint32).view(np.int32)
    uniform = np.where(word < 0, ~word, word).astype(np.float32) * _TRITON_SCALE
    floored: FloatArray = np.maximum(uniform, _TRITON_SCALE).astype(np.float64)
    return floored
