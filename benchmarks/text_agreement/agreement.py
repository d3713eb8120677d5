"""The comparison of one tokenizer's text: sidecar, verifier, engine."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any

from benchmarks.text_agreement.cases import Case, Cases, Outcome, outcome
from benchmarks.text_agreement.exceptions import named_exception
from weightwarden.logger.record import Record
from weightwarden.logger.text.tokenizer import ModelTokenizer
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.scoring.stopping import ForcedEndLimits, StoppingRule

ENGINE = Path(__file__).with_name("engine.py")
_NEUTRAL = ("min_tokens", "stop", "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output")


@dataclass
class Agreement:
    """Findings about one tokenizer.

    Attributes:
        cases: number of cases tried.
        exceptions: number of cases of each named exception.
        differences: other differences, in words.
    """

    cases: int = 0
    exceptions: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


class EngineText:
    """vLLM's detokenizer, in a process of vLLM's Python."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [str(python), str(ENGINE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def of(self, tokenizer: Path, cases: Iterable[Case]) -> list[Outcome | None]:
        """The engine's text of each case (`benchmarks.text_agreement.engine`); None where it fails."""
        asked = {"tokenizer": str(tokenizer), "cases": [_asked(case) for case in cases]}
        _pipe(self._process.stdin).write(json.dumps(asked).encode() + b"\n")
        _pipe(self._process.stdin).flush()
        answers = json.loads(_pipe(self._process.stdout).readline())
        return [None if answer is None else Outcome(**answer) for answer in answers]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def compare(
    sidecar: ModelTokenizer, verifier: ModelTokenizer, count: int, random: Random, engine: EngineText, folder: Path
) -> Agreement:
    """Compare random cases of a tokenizer.

    Args:
        sidecar: the tokenizer in the sidecar's form.
        verifier: the tokenizer in the verifier's form.
        folder: folder for temporary files.
    """
    path = folder / "tokenizer.json"
    sidecar.backend.save(str(path))
    maker = Cases(sidecar, random)
    cases = [maker.one() for _ in range(count)]
    found = Agreement(cases=len(cases))
    rule = stopping_rule(verifier)
    for case, theirs in zip(cases, engine.of(path, cases), strict=True):
        ours = outcome(sidecar, case)
        problem = own_difference(sidecar, verifier, rule, case, ours, random)
        if problem is not None:
            found.differences.append(f"{problem}: {case}")
        elif ours != theirs:
            name = named_exception(sidecar, case, ours, theirs)
            if name is not None:
                found.exceptions[name] += 1
            else:
                found.differences.append(f"{ours} here, {theirs} in the engine: {case}")
    return found


def own_difference(
    sidecar: ModelTokenizer,
    verifier: ModelTokenizer,
    rule: StoppingRule,
    case: Case,
    ours: Outcome,
    random: Random,
) -> str | None:
    """Disagreement of the sidecar with itself or with the verifier in words; None without one.

    1. Check that text and ending do not depend on the split of the tokens.
    2. Check that the verifier's text of the tokens is the sidecar's, unless a stop string cuts it.
    3. Check that the verifier accepts the end of the answer.
    """
    # 1
    for _ in range(3):
        splits = sorted(random.randint(0, len(case.ids)) for _ in range(random.randint(1, 4)))
        if outcome(sidecar, case, splits) != ours:
            return f"ours, split at {splits}, is another"
    # 2
    plain = case.sampling.model_copy(update={"stop": [], "stop_token_ids": []})
    free = Case(prompt=case.prompt, ids=case.ids, sampling=plain, step=1)
    detokenizer = verifier.detokenizer(plain, case.prompt)
    if "".join([*map(detokenizer.add, case.ids), detokenizer.end()]) != outcome(sidecar, free).text:
        return "ours is not the verifier's"
    # 3
    findings = rule.findings(record_of(case, ours), 0.0)
    return f"ours is not well ended to the verifier: {findings}" if findings else None


def record_of(case: Case, ours: Outcome) -> Record:
    """The sidecar's record of a case."""
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-cpu"},
            "model": "m",
            "prompt_token_ids": case.prompt,
            "output_token_ids": case.ids[: ours.tokens],
            "seed": 1,
            "choice_index": 0,
            "sampling": case.sampling,
            "finish_reason": "length" if ours.stop is None else "stop",
            "stop_reason": ours.stop,
        }
    )


def stopping_rule(tokenizer: ModelTokenizer) -> StoppingRule:
    """The verifier's stopping rule of a model without end-of-sequence tokens."""
    identity = ModelIdentity(
        path=Path("m"),
        digest="sha256:" + "0" * 64,
        vocabulary=len(tokenizer.table.of_id),
        context_length=None,
        eos_ids=(),
    )
    return StoppingRule(
        identity=identity, tokenizer=tokenizer, max_model_length=10**6, forced_end=ForcedEndLimits(margin=1.0, rate=0.0)
    )


def _asked(case: Case) -> dict[str, Any]:
    fields = case.sampling.model_dump(include=set(_NEUTRAL))
    return {
        "prompt": case.prompt,
        "ids": case.ids,
        "step": case.step,
        "sampling": fields,
        "stop_token_ids": case.sampling.stop_token_ids,
    }


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
