"""torch's CUDA generator against the emulation of schemes `vllm-v1` and `vllm-v1-fp64`; needs a GPU.

    python -m benchmarks.guarantees.cuda_noise > cuda-noise.json

Uniform numbers must be equal bit for bit, exponentials within the noise's stated tolerance, and the tokens of races
admissible. The behaviour of `__logf` near 1, where the tolerance is widest, is tabulated. Imports torch, NumPy and
`sampler.noise` only. Exit code 1 if a comparison fails.
"""

import json
import platform
import sys
from typing import Any

import numpy as np
import torch

from weightwarden.sampler.noise.vllm_v1 import VllmV1Fp64Noise, VllmV1Noise
from weightwarden.sampler.types import FloatArray, IntArray

VOCABULARIES = (1_000, 49_152, 151_936, 300_000)
SEEDS = (0, 42, 2**31 - 1, 2**32 + 42, 2**63 - 1, -3, -(2**63))
STEPS = 10
LARGE = 1 << 28
"""Number of elements of the fill in search of uniform numbers next to 1: about eight at each of the nearest."""
SAMPLED = 100_000
NEAR = 64
RACES = 500
SPREADS = (0.5, 2.0, 4.0)
"""Standard deviations of the logits of races: nearly flat, whose winners are improbable, to peaked."""


def threads_of(device: torch.device) -> int:
    """Number of threads that the GPU holds at once."""
    found = torch.cuda.get_device_properties(device)
    return int(found.multi_processor_count) * int(found.max_threads_per_multi_processor)


def seeded(seed: int, device: torch.device) -> torch.Generator:
    """A CUDA generator."""
    return torch.Generator(device=device).manual_seed(seed)


def fills(seed: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> tuple[FloatArray, list[int]]:
    """Exponentials [steps, V] of one generator as vLLM draws them, and its offset after each step."""
    generator = seeded(seed, device)
    rows, offsets = [], []
    for _ in range(STEPS):
        row = torch.empty(vocabulary, dtype=dtype, device=device).exponential_(generator=generator)
        rows.append(row.double().cpu().numpy())
        offsets.append(int(generator.get_offset()))
    return np.stack(rows), offsets


def uniforms(seed: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> FloatArray:
    """`torch.rand` [steps, V] of one generator."""
    generator = seeded(seed, device)
    rows = [torch.rand(vocabulary, generator=generator, dtype=dtype, device=device) for _ in range(STEPS)]
    return torch.stack(rows).double().cpu().numpy()


def expected_uniforms(noise: VllmV1Noise, keys: Any, ids: IntArray) -> FloatArray:
    """Expected values of `torch.rand`: (0, 1], then 1 as 0."""
    bits = noise.uniform_bits(keys, ids)
    if isinstance(noise, VllmV1Fp64Noise):
        uniform = bits.astype(np.float64) * 2.0**-53 + 2.0**-54
    else:
        single = bits.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
        uniform = single.astype(np.float64)
    return np.where(uniform == 1.0, 0.0, uniform)


def compared(make: type[VllmV1Noise], vocabulary: int, seed: int, device: torch.device) -> dict[str, Any]:
    """One generator's fills against the emulation."""
    dtype = torch.float64 if make is VllmV1Fp64Noise else torch.float32
    noise = make(vocabulary, threads_of(device))
    keys = noise.keys(seed, 1, STEPS + 1)
    ids = np.tile(np.arange(vocabulary), (STEPS, 1))
    g = noise.at(keys[:-1], ids)
    exponential, offsets = fills(seed, vocabulary, dtype, device)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(-np.log(exponential) - g)
    error = noise.error(g)
    bounded = np.isfinite(error)
    return {
        "scheme": make.name,
        "vocabulary": vocabulary,
        "seed": seed,
        "uniforms": STEPS * vocabulary,
        "uniforms_unequal": int(
            (uniforms(seed, vocabulary, dtype, device) != expected_uniforms(noise, keys[:-1], ids)).sum()
        ),
        "offsets_as_expected": offsets == [4 * int(counter) for counter in keys["counter"][1:]],
        "largest_score_error_nats": float(distance[bounded].max()),
        "largest_share_of_tolerance": float((distance[bounded] / error[bounded]).max()),
        "beyond_tolerance": int((distance[bounded] > error[bounded]).sum()),
        "largest_exponential_error": float(np.abs(exponential - np.exp(-g)).max()),
        "exponentials_not_positive": int((exponential <= 0).sum()),
        "of_unbounded_tolerance": int((~bounded).sum()),
    }


def raced(make: type[VllmV1Noise], vocabulary: int, spread: float, device: torch.device) -> dict[str, Any]:
    """Tokens of p / E on the GPU, as vLLM draws them, against argmax of logit + g."""
    dtype = torch.float64 if make is VllmV1Fp64Noise else torch.float32
    noise = make(vocabulary, threads_of(device))
    logits = torch.randn(vocabulary, generator=seeded(1, device), device=device) * spread
    generator = seeded(20_260_000, device)
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
    drawn = np.empty(RACES, np.int64)
    for step in range(RACES):
        q = torch.empty(vocabulary, dtype=dtype, device=device).exponential_(generator=generator)
        race = q.reciprocal().mul_(probabilities) if dtype == torch.float64 else probabilities.clone().div_(q)
        drawn[step] = int(race.argmax())
    keys = noise.keys(20_260_000, 1, RACES)
    values = logits.double().cpu().numpy()
    equal = admissible = alternatives = 0
    for step in range(RACES):
        g = noise.at(keys[step : step + 1], np.arange(vocabulary)[None])[0]
        error = noise.error(g)
        reached = values + g + error >= (values + g - error).max()
        equal += int((values + g).argmax() == drawn[step])
        admissible += bool(reached[drawn[step]])
        alternatives += int(reached.sum()) - 1
    return {
        "scheme": make.name,
        "vocabulary": vocabulary,
        "spread_logits": spread,
        "races": RACES,
        "equal": equal,
        "within_tolerance": admissible,
        "other_tokens_within_tolerance": alternatives,
    }


def near_one(seed: int, device: torch.device) -> dict[str, Any]:
    """`-__logf(u)` by the float32 steps of u below 1, and the mapping of a fill of many rounds."""
    uniform = torch.rand(LARGE, generator=seeded(seed, device), device=device)
    exponential = torch.empty(LARGE, device=device).exponential_(generator=seeded(seed, device))
    ids = np.random.default_rng(seed).integers(0, LARGE, (1, SAMPLED))
    noise = VllmV1Noise(LARGE, threads_of(device))
    expected = expected_uniforms(noise, noise.keys(seed, 1, 1), ids)
    found = uniform[torch.from_numpy(ids[0]).to(device)].double().cpu().numpy()
    table, worst = {}, {}
    for k in range(1, NEAR + 1):
        seen = np.unique(exponential[uniform == 1 - k * 2.0**-24].double().cpu().numpy())
        table[k] = [float(value) for value in seen * 2.0**24]
    for binade in range(1, 24):  # 1 - u in [2^-(b + 1), 2^-b)
        at = (uniform <= 1 - 2.0 ** -(binade + 1)) & (uniform > 1 - 2.0**-binade) & (uniform > 0)
        exact = -uniform[at].double().log()
        if len(exact):
            worst[f"2^-{binade + 1}"] = float((exponential[at].double() - exact).abs().max())
    low = (uniform < 0.5) & (uniform > 0)
    exact = -uniform[low].double().log()
    return {
        "seed": seed,
        "elements": LARGE,
        "sampled_uniforms_unequal": int((found != expected[0]).sum()),
        "exponential_in_units_of_2^-24_by_units_of_u_below_1": table,
        "largest_absolute_error_by_distance_of_u_from_1": worst,
        "largest_relative_error_below_one_half": float(((exponential[low].double() - exact) / exact).abs().max()),
        "smallest_exponential": float(exponential.min()),
    }


def main() -> int:
    """Measure, print JSON, and return 0 if every comparison holds."""
    if not torch.cuda.is_available():
        print("benchmarks.guarantees.cuda_noise needs a CUDA device", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    schemes = (VllmV1Noise, VllmV1Fp64Noise)
    fill = [compared(make, v, seed, device) for make in schemes for v in VOCABULARIES for seed in SEEDS]
    races = [raced(make, v, spread, device) for make in schemes for v in VOCABULARIES[:3:2] for spread in SPREADS]
    near = [near_one(seed, device) for seed in (5, 6)]
    good = (
        all(f["uniforms_unequal"] == f["beyond_tolerance"] == 0 and f["offsets_as_expected"] for f in fill)
        and all(race["within_tolerance"] == race["races"] for race in races)
        and all(n["sampled_uniforms_unequal"] == 0 for n in near)
    )
    report = {
        "as_it_must_be": good,
        "device": torch.cuda.get_device_name(device),
        "threads": threads_of(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "numpy": np.__version__,
        },
        "fills": fill,
        "races": races,
        "near_one": near,
    }
    print(json.dumps(report, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
