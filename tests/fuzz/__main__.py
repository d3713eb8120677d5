"""Fuzzes one target under atheris (libFuzzer), guided by coverage: python -m tests.fuzz TARGET -runs=N

`make fuzz` runs them all, more than a million inputs. A failure leaves the input in a file named crash-...
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["logger", "sampler"]):
    from tests.fuzz.targets import TARGETS, examples


def main() -> None:
    """Fuzz the target that the first argument names; libFuzzer reads the others."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as corpus:
        for number, example in enumerate(examples(name)):
            (Path(corpus) / str(number)).write_bytes(example)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], TARGETS[name])
        atheris.Fuzz()


main()
