"""Slow scalar noise in Python numbers, one token at a time, written from docs/sampling.md, sections 2, 4 and 5."""

import math

import numpy as np

MASK = 2**32 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 as in the paper: key schedule, then S-boxes."""
    keys = [((key[0] + i * 0x9E3779B9) & MASK, (key[1] + i * 0xBB67AE85) & MASK) for i in range(10)]
    a, b, c, d = counter
    for k0, k1 in keys:
        first, second = divmod(a * 0xD2511F53, 2**32), divmod(c * 0xCD9E8D57, 2**32)
        a, b, c, d = second[0] ^ b ^ k0, second[1], first[0] ^ d ^ k1, first[1]
    return [a, b, c, d]


def cuda_words(
    seed: int, step: int, token: int, vocabulary: int, gpu_threads: int, unroll: int
) -> tuple[list[int], int]:
    """The four outputs of the counter that a token's draw is from, and which draw of the counter it is."""
    threads = 256 * min(-(-vocabulary // 256), gpu_threads // 256)
    offset = 4 * math.ceil(vocabulary / (unroll * threads)) * step
    row, within = divmod(token, unroll * threads)
    component, thread = divmod(within, threads)
    counter = offset // 4 + row
    words = [counter & MASK, counter >> 32, thread & MASK, thread >> 32]
    seed %= 2**64
    return philox(words, [seed & MASK, seed >> 32]), component


def cuda_integer(seed: int, step: int, token: int, vocabulary: int, gpu_threads: int = 2**40) -> int:
    """The 32-bit draw behind a token's float32 uniform."""
    words, component = cuda_words(seed, step, token, vocabulary, gpu_threads, 4)
    return words[component]


def vllm_v1(seed: int, step: int, token: int, vocabulary: int, gpu_threads: int = 2**40) -> float:
    """-ln E, the logarithm exact where `__logf` is not."""
    z = cuda_integer(seed, step, token, vocabulary, gpu_threads)
    u = float(np.float32(np.float32(z) * np.float32(2**-32)) + np.float32(2**-33))
    return -math.log(2**-24 if u >= 1 - 2**-24 else -math.log(u))


def vllm_v1_fp64(seed: int, step: int, token: int, vocabulary: int, gpu_threads: int = 2**40) -> float:
    """-ln E with E of 53 bits."""
    words, component = cuda_words(seed, step, token, vocabulary, gpu_threads, 2)
    x, y = words[2 * component : 2 * component + 2]
    u = (x ^ (y << 21)) * 2.0**-53 + 2.0**-54
    return -math.log(2.0**-53 if u >= 1 - 2.0**-53 else -math.log(u))


def murmur(seed: int, position: int, column: int, domain: int = 0) -> int:
    """murmur3_x86_32 of seed, position and column."""
    h = domain
    for word in (seed % 2**32, (seed >> 32) % 2**32, position % 2**32, column):
        k = word * 0xCC9E2D51 & MASK
        h ^= ((k << 15 | k >> 17) & MASK) * 0x1B873593 & MASK
        h = ((h << 13 | h >> 19) * 5 + 0xE6546B64) & MASK
    h ^= 16
    h = (h ^ h >> 16) * 0x85EBCA6B & MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def vllm_v2(seed: int, position: int, token: int) -> float:
    """Of one hash; large noise comes from small u."""
    return -math.log(-math.log1p(-(murmur(seed, position, token) + 0.5) * 2.0**-32))


def triton_uniform(seed: int, position: int) -> float:
    """`tl.rand` of the seed and a 64-bit position, and at least its own step."""
    seed, position = seed % 2**64, position % 2**64
    word = philox([position & MASK, position >> 32, 0, 0], [seed & MASK, seed >> 32])[0]
    folded = MASK - word if word >= 2**31 else word
    step = np.float32(4.6566127342e-10)
    return float(max(np.float32(folded) * step, step))


def vllm_v2_fp64(seed: int, position: int, token: int) -> float:
    """Of two hashes."""
    bits = (murmur(seed, position, token, 0x9E3779B9) << 32 | murmur(seed, position, token)) >> 11
    return -math.log(-math.log(min((bits + 0.5) * 2.0**-53, 1 - 2.0**-53)))


def sglang(seed: int, position: int, column: int) -> float:
    """With the clamp at both ends."""
    u = murmur(seed, position, column) / 4294967295
    log_u = math.log(u) if u > 0 else -math.inf
    return -math.log(-max(min(log_u, -(2.0**-32)), -1.7976931348623157e308))
