"""MT19937 as its authors wrote `init_genrand`, on Python's own generator: a source independent of NumPy's."""

import random


def genrand_words(seed: int, count: int) -> list[int]:
    """The first `count` 32-bit outputs of MT19937 seeded with `seed mod 2^32`."""
    state = [seed & 0xFFFFFFFF]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) & 0xFFFFFFFF)
    generator = random.Random()
    generator.setstate((3, (*state, 624), None))
    return [generator.getrandbits(32) for _ in range(count)]
