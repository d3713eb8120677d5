"""The README's table of engines and features: each cell is what the code says of that engine."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from tests.places import ROOT
from weightwarden.logger.engine_profile import ONE_HOT, EngineProfile
from weightwarden.logger.record import Engine, Record
from weightwarden.logger.sidecar.startup import names_adapters, sends_grammars
from weightwarden.sampler.schemes import SCHEMES

COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "vLLM, V2 runner": ("vllm", ("vllm-v2", "vllm-v2-fp64", ONE_HOT)),
    "vLLM, V1 runner": ("vllm", tuple(name for name in SCHEMES if name.startswith("vllm-v1"))),
    "vLLM, CPU": ("vllm", ("vllm-cpu",)),
    "SGLang": ("sglang", ("sglang", "sglang-ranked")),
    "llama.cpp": ("llama.cpp", ("inverse-cdf",)),
}
"""Each column's engine, and its schemes: a feature is verified if one of them takes it."""
VERSIONS = {"vllm": "0.32.0", "sglang": "0.5.23", "llama.cpp": "b8000"}


def accepted(build: Callable[[], object]) -> bool:
    """True if this is valid."""
    try:
        build()
    except ValidationError:
        return False
    return True


def takes(engine: str, schemes: tuple[str, ...], *, seed: int | None = 1, **sampling: Any) -> bool:
    """True if a request with these parameters can be replayed in one of the schemes."""
    return any(
        accepted(
            lambda name=name: Record.model_validate(  # type: ignore[misc]
                {
                    "engine": {"name": engine, "version": VERSIONS[engine], "sampler": name},
                    "model": "m",
                    "prompt_token_ids": [1],
                    "output_token_ids": [2],
                    "seed": seed,
                    "choice_index": 0,
                    "sampling": sampling,
                    "finish_reason": "length",
                    "stop_reason": None,
                }
            )
        )
        for name in schemes
    )


def speculates(engine: str, schemes: tuple[str, ...], acceptance: str) -> bool:
    """True if a profile can say that the server speculates in this way."""
    speculation = {"method": "ngram", "tokens": 3, "acceptance": acceptance}
    fields = {"engine": engine, "version": VERSIONS[engine], "dtype": "bfloat16", "speculation": speculation}
    return any(
        accepted(lambda name=name: EngineProfile.model_validate(fields | {"sampler": name}))  # type: ignore[misc]
        for name in schemes
    )


def of(engine: str, scheme: str) -> Engine:
    return Engine(name=engine, version=VERSIONS[engine], sampler=scheme)


Check = Callable[[str, tuple[str, ...]], bool]
VERIFIED: Mapping[str, Check] = {
    "temperature 0": lambda engine, schemes: takes(engine, schemes, seed=None, temperature=0.0),
    "seeded sampling": lambda engine, schemes: takes(engine, schemes) or takes(engine, schemes, top_k=50),
    "top-k, top-p": lambda engine, schemes: takes(engine, schemes, top_k=50, top_p=0.9),
    "min-p": lambda engine, schemes: takes(engine, schemes, min_p=0.1) or takes(engine, schemes, min_p=0.1, top_k=50),
    "penalties": lambda engine, schemes: takes(engine, schemes, presence_penalty=0.5),
    "allowed tokens, bad words": lambda engine, schemes: takes(engine, schemes, allowed_token_ids=[2], bad_words=["x"]),
    "structured output, forced tools": lambda engine, schemes: sends_grammars(of(engine, schemes[0])),
    "low-rank adapters": lambda engine, schemes: names_adapters(of(engine, schemes[0])),
    "speculation at temperature 0": lambda engine, schemes: speculates(engine, schemes, "greedy"),
    "coupled speculation (a plugin)": lambda engine, schemes: speculates(engine, schemes, "coupled"),
    "other speculation": lambda engine, schemes: any(
        speculates(engine, schemes, rule) for rule in ("block", "probabilistic", "synthetic")
    ),
    "beam search": lambda engine, schemes: takes(engine, schemes, use_beam_search=True),
    "unseeded sampling": lambda engine, schemes: takes(engine, schemes, seed=None),
}
WEAK: Mapping[str, Check] = {
    "one-hot speculation": lambda engine, schemes: speculates(engine, schemes, "one-hot"),
}
"""Features that leave an attacker many times what the others do."""


def table() -> Iterator[tuple[str, str, str]]:
    """The cells: feature, engine, state."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").split("## Engines and features")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head, _, *body = rows[: next((at for at, row in enumerate(rows) if len(row) != len(rows[0])), len(rows))]
    for feature, *cells in body:
        yield from ((feature, engine, state) for engine, state in zip(head[1:], cells, strict=True))


CELLS = list(table())


def test_the_table_has_every_engine_and_every_feature() -> None:
    assert [engine for feature, engine, _ in CELLS if feature == CELLS[0][0]] == list(COLUMNS)
    assert {feature for feature, _, _ in CELLS} == {*VERIFIED, *WEAK}


@pytest.mark.parametrize(("feature", "engine", "state"), CELLS)
def test_a_cell_is_what_the_code_says(feature: str, engine: str, state: str) -> None:
    name, schemes = COLUMNS[engine]
    weak = feature in WEAK
    served = (WEAK if weak else VERIFIED)[feature](name, schemes)
    assert state == (("weak" if weak else "verified") if served else "refused")
