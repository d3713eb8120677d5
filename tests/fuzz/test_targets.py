import random

import pytest

from tests.fuzz.targets import TARGETS, examples

INPUTS = {
    "signed-checkpoint": 4000,
    "checkpoint-text": 4000,
    "record": 3000,
    "archive": 300,
    "companion": 300,
    "record-proof": 3000,
    "report-signature": 3000,
    "bundle": 1000,
    "witness-answer": 4000,
    "answer": 2000,
    "request-body": 1000,
    "capture": 1000,
}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few random changes: bytes set, removed, doubled, swapped, or the tail of another place put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out) or 1)
        match rng.randrange(5):
            case 0 if out:
                out[at] = rng.randrange(256)
            case 1:
                del out[at : at + rng.randint(1, 8)]
            case 2:
                out[at:at] = out[at : at + rng.randint(1, 8)]
            case 3:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
            case _:
                other = rng.randrange(len(out) or 1)
                out[at : at + 4] = out[other : other + 4]
    return bytes(out)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs_break_no_promise(target: str) -> None:
    rng = random.Random(target)
    valid = examples(target)
    for example in valid:
        TARGETS[target](example)
    for _ in range(INPUTS[target]):
        TARGETS[target](mutated(rng.choice(valid), rng))
