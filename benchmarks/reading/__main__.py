"""Reading of answers: fixtures passed of fixtures there are, by family; and random inputs.

Fails if a fixture fails without a reason in `benchmarks/reading/failures.py`, or if a random input breaks a promise.
"""

import argparse
import importlib.metadata
import sys
from collections import Counter

from canitoolcall.results import Status

from benchmarks.reading.failures import FAILURES
from benchmarks.reading.fixtures import Case, cases, status
from benchmarks.reading.random_inputs import try_inputs


def fixtures_table(found: list[Case]) -> list[str]:
    """The fixtures' results, printed; the ids of fixtures that fail without a reason."""
    there = Counter(case.family for case in found)
    passed: dict[bool, Counter[str]] = {}
    unexplained: list[str] = []
    for whole in (False, True):
        passed[whole] = Counter()
        for case in found:
            result, said = status(case, whole_calls=whole)
            passed[whole][case.family] += result is Status.PASS
            if result is not Status.PASS and case.fixture.id not in FAILURES[whole]:
                unexplained.append(f"{case.fixture.id}: {said}")
    print("| family | fixtures | passed, arguments piece by piece | passed, calls when complete |")
    print("|---|---|---|---|")
    for family in sorted(there):
        print(f"| {family} | {there[family]} | {passed[False][family]} | {passed[True][family]} |")
    print(f"| all | {there.total()} | {passed[False].total()} | {passed[True].total()} |")
    return unexplained


def main() -> None:
    """Read, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=0, help="number of random inputs")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found, others = cases()
    print(f"canitoolcall {importlib.metadata.version('canitoolcall')}: {len(others)} fixtures of other families\n")
    problems = fixtures_table(found)
    if arguments.inputs:
        broken, total, slowest, called = try_inputs(found, arguments.inputs, arguments.seed)
        problems += broken
        print(
            f"\n{arguments.inputs} random inputs, seed {arguments.seed}: {called} with calls, {len(broken)} broken"
            f" promises; CPU time {total:.0f} s, of the slowest input {slowest:.3f} s"
        )
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
