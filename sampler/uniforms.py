"""Uniform numbers of engines that compare one number with the cumulative distribution."""

import numpy as np

from weightwarden.sampler.mersenne import MersenneStream
from weightwarden.sampler.types import FloatArray


def inverse_cdf_uniforms(seed: int, output_length: int) -> FloatArray:
    """Uniforms u in [0, 1), float64 [output_length], one an output token, of scheme `inverse-cdf`.

    llama.cpp's `llama_sampler_dist`: `std::mt19937(seed)` and libstdc++'s `uniform_real_distribution<double>`, which
    is (w0 + w1 * 2^32) / 2^64 of two successive outputs (docs/sampling.md, section 8). The token drawn is the first in
    candidate order whose cumulative probability reaches u.
    """
    raw = MersenneStream(seed).take(2 * output_length).astype(np.float64)
    uniform = (raw[0::2] + raw[1::2] * 2.0**32) * 2.0**-64
    return np.minimum(uniform, np.nextafter(1.0, 0.0))
