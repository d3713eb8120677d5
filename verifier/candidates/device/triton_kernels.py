"""Triton kernels, called by `kernels`. The import needs Triton."""

import triton
import triton.language as tl


@triton.jit
def _ordered(x):
    """Uint32 in the order of float32 numbers; -inf becomes 0x007FFFFF."""
    bits = x.to(tl.uint32, bitcast=True)
    return tl.where(bits < 0x80000000, bits + 0x80000000, bits ^ 0xFFFFFFFF)


@triton.jit
def find_largest(
    logits,
    stride,
    vocabulary,
    size,
    claimed,
    scale,
    offset,
    found_keys,
    counts,
    largest,
    sums,
    ranks,
    GROUPS: tl.constexpr,
    PLACES: tl.constexpr,
    MASS: tl.constexpr,
):
    """One program a row: the tokens at or above the `size`-th largest of the maxima of GROUPS groups of its tokens.

    1. Find the maximum of each group: tokens j, j + GROUPS, ... The size-th largest maximum, found by bisection, is at
       most the size-th largest logit.
    2. Store all tokens that reach it, as keys (logit, then lowest id) in the order of tokens; the number of logits that
       reach the claimed token's; the mass.
    """
    row = tl.program_id(0).to(tl.int64)
    base = logits + row * stride
    lane = tl.arange(0, GROUPS)

    # 1
    maxima = tl.full([GROUPS], float("-inf"), tl.float32)
    strange = tl.zeros([GROUPS], tl.int32)
    for start in tl.range(0, vocabulary, GROUPS, loop_unroll_factor=4):
        at = start + lane
        x = tl.load(base + at, mask=at < vocabulary, other=float("-inf")).to(tl.float32)
        strange |= (x != x).to(tl.int32)
        maxima = tl.maximum(maxima, x)
    top = tl.max(maxima, axis=0)
    nan = tl.max(strange, axis=0)
    order = _ordered(maxima)
    low, high = tl.min(order, axis=0), tl.max(order, axis=0)
    while low < high:
        middle = high - (high - low) // 2
        reached = tl.sum((order >= middle).to(tl.int32), axis=0)
        low = tl.where(reached >= size, middle, low)
        high = tl.where(reached >= size, high, middle - 1)
    least = tl.maximum(low, 0x00800000)  # above -inf

    # 2
    limit = tl.load(base + tl.load(claimed + row)).to(tl.float32)
    factor = tl.load(scale + row)
    cut = top + tl.load(offset + row)
    rank = tl.zeros([GROUPS], tl.int32)
    mass = tl.zeros([GROUPS], tl.float32)
    for start in tl.range(0, vocabulary, GROUPS, loop_unroll_factor=4):
        at = start + lane
        inside = at < vocabulary
        x = tl.load(base + at, mask=inside, other=float("-inf")).to(tl.float32)
        rank += (inside & (x >= limit)).to(tl.int32)
        if MASS:
            mass += tl.where(x >= cut, tl.exp((x - top) * factor), 0.0)
        key = _ordered(x)
        hit = inside & (key >= least)
        place = tl.atomic_add(counts + row + lane * 0, 1, mask=hit, sem="relaxed")
        packed = (key.to(tl.uint64) << 32) + (0x7FFFFFFF - at).to(tl.uint64)
        tl.store(found_keys + row * PLACES + place, packed.to(tl.int64, bitcast=True), mask=hit & (place < PLACES))
    tl.store(largest + row, tl.where(nan > 0, float("nan"), top))
    tl.store(ranks + row, tl.sum(rank, axis=0))
    if MASS:
        tl.store(sums + row, tl.sum(mass, axis=0))


@triton.jit
def sort_largest(found_keys, counts, size, values, ids, PLACES: tl.constexpr):
    """One program a row: its keys in descending order, as logits and token ids; -inf and -1 where there are fewer."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, PLACES)
    there = lane < tl.load(counts + row)
    keys = tl.load(found_keys + row * PLACES + lane, mask=there, other=0).to(tl.uint64, bitcast=True)
    keys = tl.sort(keys, descending=True)
    key = (keys >> 32).to(tl.uint32)
    key = tl.where(keys == 0, 0x007FFFFF, key)
    value = tl.where(key >= 0x80000000, key - 0x80000000, key ^ 0xFFFFFFFF).to(tl.float32, bitcast=True)
    token = tl.where(keys == 0, -1, 0x7FFFFFFF - (keys & 0xFFFFFFFF).to(tl.int64))
    tl.store(values + row * size + lane, value.to(tl.float64), mask=lane < size)
    tl.store(ids + row * size + lane, token, mask=lane < size)


@triton.jit
def _murmur3(key, ids):
    """The hash of `VllmV2Noise`."""
    k = ids.to(tl.uint32) * 0xCC9E2D51
    k = ((k << 15) | (k >> 17)) * 0x1B873593
    h = key.to(tl.uint32) ^ k
    h = ((h << 13) | (h >> 19)) * 5 + 0xE6546B64
    h ^= 16
    h ^= h >> 16
    h *= 0x85EBCA6B
    h ^= h >> 13
    h *= 0xC2B2AE35
    return h ^ (h >> 16)


@triton.jit
def _splitmix64(key, ids):
    """The hash of `VllmCpuNoise`."""
    z = key.to(tl.uint64, bitcast=True) + (ids.to(tl.uint64) + 1) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return (z ^ (z >> 31)) >> 11


@triton.jit
def scan_tail(
    logits,
    stride,
    vocabulary,
    keys,
    least,
    floor,
    last,
    temperature,
    rows,
    tokens,
    counter,
    places,
    SCHEME: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
):
    """Tokens of a part of a row whose word reaches `least` and whose logit, not above `last`, may reach the floor.

    Their noise is bounded from above in float32: with c the distance of the uniform number from the end where noise is
    large, -ln(1 - c) is at least the first terms of its series.
    """
    row = tl.program_id(0).to(tl.int64)
    base = logits + row * stride
    key = tl.load(keys + row)
    needed = tl.load(least + row)
    if needed <= 9007199254740991:  # 2^53 - 1: otherwise the row is closed
        for step in range(STEPS):
            at = (tl.program_id(1) * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
            if SCHEME == 0:
                word = 4294967295 - _murmur3(key, at).to(tl.int64)
            else:
                word = _splitmix64(key, at).to(tl.int64)
            hit = (at < vocabulary) & (word >= needed)
            if tl.max(hit.to(tl.int32), axis=0) > 0:
                x = tl.load(base + at, mask=hit, other=float("-inf")).to(tl.float32)
                if SCHEME == 0:
                    c = ((4294967295 - word).to(tl.float32) + 0.5) * 2.3283064365386963e-10
                else:
                    c = ((9007199254740991 - word).to(tl.float32) + 0.5) * 1.1102230246251565e-16
                series = c * (1.0 + c * (0.5 + c * 0.3333333))
                exponential = tl.where(c < 0.25, series, -tl.log(tl.maximum(1.0 - c, 1e-30)))
                wanted = tl.load(floor + row).to(tl.float32)
                slack = 1e-3 + 1e-5 * tl.abs(wanted)
                factor = tl.load(temperature + row).to(tl.float32)
                bound = x + factor * (1e-3 - tl.log(exponential)) + slack
                keep = hit & (bound >= wanted) & (x <= tl.load(last + row).to(tl.float32))
                place = tl.atomic_add(counter + at * 0, 1, mask=keep, sem="relaxed")
                there = keep & (place < places)
                tl.store(rows + place, tl.zeros([BLOCK], tl.int64) + row, mask=there)
                tl.store(tokens + place, at.to(tl.int64), mask=there)
