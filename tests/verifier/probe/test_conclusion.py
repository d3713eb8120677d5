from typing import Any

import pytest

from tests.verifier.probe.formula import FormulaReplayer, formula_serving
from tests.verifier.provider.provider_server import Draw, drawing, numpy_drawing, provider_server
from weightwarden.sampler.schemes import SCHEMES
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.probe.conclusion import Conclusion, conclude
from weightwarden.verifier.probe.queries import FILTERED, UNFILTERED, Interviewer
from weightwarden.verifier.provider.client import ProviderClient

SEEDS = [1000 + 7919 * i for i in range(26)]
DRAWN = [name for name in SCHEMES if name != "greedy"]


def probed(draw: Draw, questions: int = 4, tokens: int = 12, **how: Any) -> Conclusion:
    replayer = FormulaReplayer()
    with provider_server(formula_serving(draw, **how)) as url, ProviderClient(url) as client:
        interviewer = Interviewer(client=client, tokenizer=replayer.tokenizer, tokens=tokens, seeds=SEEDS)
        return conclude(replayer, interviewer.interview(questions))


@pytest.mark.parametrize("name", DRAWN)
def test_a_server_that_samples_by_a_scheme_is_named(name: str) -> None:
    found = probed(drawing(name))
    kind = found.filtered if SCHEMES[name].needs_cut else found.unfiltered
    assert kind is not None
    best = kind.best
    assert best is not None
    assert name == best.scheme or name in kind.alike
    assert best.rate >= (
        0.85 if kind is found.filtered else 1.0
    )  # bfloat16 logits tie, and ranks of ties are anybody's
    assert best.log10_p < -9
    assert not found.findings


def test_a_server_with_a_generator_of_its_own_is_none() -> None:
    found = probed(numpy_drawing, questions=8)
    assert found.named is None
    assert found.unfiltered.best is None
    assert all(item.rate < 0.85 for item in found.unfiltered.evidence)
    assert found.greedy is not None
    assert found.greedy.rate == 1.0


def test_chance_is_what_a_wrong_scheme_really_matches() -> None:
    found = probed(numpy_drawing, questions=8, tokens=24)
    for item in found.unfiltered.evidence:
        if item.scheme != "greedy":
            spread = (item.chance_n * (1 - item.chance_n)).sum() ** 0.5
            assert abs(item.matches - item.chance_n.sum()) < 4 * spread


def test_greedy_answers_at_a_temperature_are_noticed() -> None:
    found = probed(drawing("vllm-cpu"), overrides={"temperature": 0.0})
    assert found.named is None
    assert "answers are greedy although a temperature was asked for" in found.findings
    assert any("another seed got the same answer" in finding for finding in found.findings)


def test_a_temperature_of_the_servers_own_is_noticed_and_named() -> None:
    def warm(logits: Any, prompt: Any, sampling: Any, count: int) -> list[int]:
        temperature = 0.7 if sampling["temperature"] else 0.0
        return drawing("vllm-cpu")(logits, prompt, sampling | {"temperature": temperature}, count)

    found = probed(warm, questions=8)
    assert found.named == "vllm-cpu"
    assert found.unfiltered.best is not None
    assert found.unfiltered.best.sampling == {"temperature": 0.7}
    assert any(finding.endswith("but with temperature 0.7") for finding in found.findings)


def test_filters_that_are_ignored_are_noticed() -> None:
    def unfiltered(logits: Any, prompt: Any, sampling: Any, count: int) -> list[int]:
        return drawing("vllm-v2")(logits, prompt, sampling | {"top_k": 0, "top_p": 1.0}, count)

    found = probed(unfiltered, questions=8, tokens=24)
    assert found.named == "vllm-v2"
    assert found.filtered is not None
    assert found.filtered.best is not None
    assert found.filtered.best.sampling == {"temperature": FILTERED["temperature"]}


def test_a_seed_that_is_ignored_is_noticed() -> None:
    found = probed(drawing("vllm-v2"), overrides={"seed": 42}, questions=8)
    assert found.named == "vllm-v2"
    assert found.unfiltered.best is not None
    assert found.unfiltered.best.seed == 42
    assert any("the seed is ignored" in finding for finding in found.findings)


def test_answers_that_change_from_time_to_time_are_noticed() -> None:
    asked = []

    def unsteady(logits: Any, prompt: Any, sampling: Any, count: int) -> list[int]:
        asked.append(sampling)
        return numpy_drawing(logits, prompt, sampling | {"seed": len(asked)}, count)

    found = probed(unsteady)
    assert found.named is None
    assert any("the same seed got another answer" in finding for finding in found.findings)


def test_another_model_is_noticed_and_its_noise_named_all_the_same() -> None:
    def other(logits: Any, prompt: Any, sampling: Any, count: int) -> list[int]:
        return drawing("vllm-cpu")(
            lambda prefix: logits([*prefix, 7, 7, 7, 7][: len(prefix)][::-1]), prompt, sampling, count
        )

    found = probed(other)
    assert found.named == "vllm-cpu"
    assert found.unfiltered.best is None
    assert any(finding.startswith("not the model here") for finding in found.findings)


def test_another_model_with_a_generator_of_its_own_is_none() -> None:
    def other(logits: Any, prompt: Any, sampling: Any, count: int) -> list[int]:
        return numpy_drawing(lambda prefix: logits(prefix[::-1]), prompt, sampling, count)

    found = probed(other)
    assert found.named is None
    assert any(finding.startswith("not the model here") for finding in found.findings)


def test_too_few_answers_are_an_error() -> None:
    with pytest.raises(ReplayServerError, match=r"0 seeded tokens could be used.*not a completion"):
        probed(drawing("vllm-cpu"), alter=lambda content: {"choices": []})


def test_filtered_and_unfiltered_requests_are_asked_as_they_are_replayed() -> None:
    serving = formula_serving(drawing("vllm-cpu"))
    with provider_server(serving) as url, ProviderClient(url) as client:
        Interviewer(client=client, tokenizer=FormulaReplayer.tokenizer, tokens=8, seeds=SEEDS).interview(2)
    bodies = serving.asked
    assert [body["temperature"] for body in bodies] == [0.0, 1.0, 1.0, 0.8, 0.8, 1.0, 1.0]
    assert all(body["top_k"] == (40 if body["temperature"] == 0.8 else -1) for body in bodies)
    assert all(body["min_p"] == 0 and body["repetition_penalty"] == 1 for body in bodies)
    assert len({body["seed"] for body in bodies}) == len(bodies) - 1  # one question is asked twice
    assert UNFILTERED.items() <= bodies[1].items()
