"""Deviating servers at recorded contexts: what they claim, how it is scored, and what a known deviation is worth."""

import numpy as np
import pytest

from benchmarks.deviations.contexts import Context, ContextReplayer, ServerHead, by_seed
from benchmarks.deviations.divergence import ClassifiedTokens, ClassLaw, log_ratio_n
from benchmarks.deviations.judging import scored_claim
from benchmarks.deviations.servers import (
    DEVIATIONS,
    Admissible,
    Answering,
    Honest,
    Substitution,
    Temperature,
    WrongSeed,
    record_of,
)
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, records_of
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.token_scores import score

SEED = 12345


@pytest.fixture(scope="module")
def policy() -> Policy:
    found = read_policy(BUNDLED_POLICY)
    assert isinstance(found, Policy)
    return found


@pytest.fixture(scope="module")
def replayer() -> ContextReplayer:
    return ContextReplayer(TransformersReplayer.load(identify_model(ensure_embedded_model())))


@pytest.fixture(scope="module")
def context(replayer: ContextReplayer) -> Context:
    """A recorded answer, served by the verifier's own model."""
    answer = records_of(FILTERED)[0]
    head = ServerHead.of(replayer.model, answer)
    context = Context(answer, replayer.model.hidden_states([0], [answer]).numpy(), head, head)
    replayer.context_of = {SEED: context, answer.choice_seed(): context}
    return context


@pytest.fixture(scope="module")
def answering(context: Context, replayer: ContextReplayer, policy: Policy) -> Answering:
    vocabulary = replayer.identity.vocabulary
    honest = record_of(context, SEED, Answering(context, SEED, vocabulary).drawn())
    _, admissible = scored_claim(Replay(replayer, policy.window), policy, honest)
    return Answering(context, SEED, vocabulary, admissible)


def test_a_claim_of_the_recorded_tokens_is_scored_like_the_record(
    context: Context, replayer: ContextReplayer, policy: Policy
) -> None:
    answer = context.answer
    claim = record_of(context, answer.choice_seed(), np.array(answer.output_token_ids))
    scores, _ = scored_claim(Replay(replayer, policy.window), policy, claim)
    (placed,) = Replay(replayer.model, policy.window).tables([answer])
    expected = score(placed.table, policy.tolerance, 0)
    np.testing.assert_allclose(scores.margin_n, expected.margin_n, atol=1e-3)
    np.testing.assert_array_equal(scores.exact_n, expected.exact_n)
    assert scores.exact_n.mean() > 0.9


def test_the_verifiers_own_draws_are_the_replays_choice_and_nothing_outside_is_admissible(
    answering: Answering, replayer: ContextReplayer, policy: Policy
) -> None:
    scores, _ = scored_claim(
        Replay(replayer, policy.window), policy, record_of(answering.context, SEED, answering.drawn())
    )
    assert scores.exact_n.all()
    assert [len(ids) for ids in answering.admissible] == scores.admissible_n.tolist()
    claim = record_of(answering.context, SEED, Admissible(1.0).claims(answering, np.random.default_rng(0)))
    taken, _ = scored_claim(Replay(replayer, policy.window), policy, claim)
    assert (taken.margin_n <= policy.tolerance.margin).all()
    several = scores.admissible_n > 1
    assert not taken.exact_n[several].all()
    assert taken.exact_n[~several].all()


def test_deviations_of_size_nothing_are_honest_and_others_are_not(answering: Answering) -> None:
    honest = Honest().claims(answering, np.random.default_rng(0))
    for none in (Admissible(0.0), Substitution(0.0), Temperature(1.0)):
        np.testing.assert_array_equal(none.claims(answering, np.random.default_rng(0)), honest)
    wrong = WrongSeed().claims(answering, np.random.default_rng(0))
    assert 0.1 < (wrong != honest).mean() < 1
    everything = Substitution(1.0).claims(answering, np.random.default_rng(0))
    assert (everything != honest).mean() > 0.9
    assert (Temperature(1.5).claims(answering, np.random.default_rng(0)) != honest).any()


def test_names_are_unique_and_have_the_size() -> None:
    names = [deviation.name for deviation in (Honest(), *DEVIATIONS)]
    assert len(set(names)) == len(names)
    assert {"admissible:0.1", "substitution:0.003", "temperature:1.05", "int8", "wrong-seed"} <= set(names)


def test_contexts_have_seeds_of_their_own(context: Context) -> None:
    found = by_seed([context] * 5, 3, np.random.default_rng(0))
    assert len(found) == 15
    assert all(0 <= seed < 2**31 for seed in found)


def tokens(rng: np.random.Generator, law: ClassLaw, count: int) -> ClassifiedTokens:
    """Tokens of a law at positions with up to three alternatives, of random classes."""
    classes = len(law.odds_c)
    offered_nc = rng.multinomial(rng.integers(4, size=count), np.full(classes, 1 / classes)).astype(np.float64)
    weight_nc = offered_nc * law.odds_c
    share_nc = (1 - law.outside_2.sum()) * weight_nc / (1 + weight_nc.sum(axis=1, keepdims=True))
    ends_nc = np.concatenate([share_nc, np.tile(law.outside_2, (count, 1))], axis=1).cumsum(axis=1)
    class_n = (rng.random((count, 1)) >= ends_nc).sum(axis=1)
    class_n = np.where(class_n == classes + 2, -1, class_n)
    return ClassifiedTokens(
        record_n=np.arange(count) // 100,
        class_n=class_n,
        offered_nc=offered_nc,
        admissible_n=1 + offered_nc.sum(axis=1).astype(np.int64),
        inside_n=class_n < classes,
    )


HONEST = ClassLaw(np.array([0.25, 0.7, 0.1, 0.01]), np.array([1e-3, 1e-4]))
OTHER = ClassLaw(np.array([0.4, 0.7, 0.2, 0.05]), np.array([1e-2, 1e-4]))


def test_a_fitted_law_finds_the_rates_and_its_divergence() -> None:
    found = tokens(np.random.default_rng(0), OTHER, 400_000)
    fitted = ClassLaw.fitted(found)
    np.testing.assert_allclose(fitted.odds_c, OTHER.odds_c, rtol=0.05)
    np.testing.assert_allclose(fitted.outside_2, OTHER.outside_2, rtol=0.3)
    ratio_n = log_ratio_n(lambda tokens, honest_n: None, found, HONEST)
    truth_n = np.log(OTHER.probability_n(found) / HONEST.probability_n(found))
    assert ratio_n.mean() == pytest.approx(truth_n.mean(), rel=0.02)
    assert truth_n.mean() > 0.01


def test_a_fitted_law_of_an_honest_server_gains_nothing() -> None:
    """Each part is judged by a law of the others, so that chance in a fit costs and never gains."""
    ratios = [
        log_ratio_n(lambda tokens, honest_n: None, tokens(np.random.default_rng(seed), HONEST, 4_000), HONEST).mean()
        for seed in range(20)
    ]
    assert np.mean(ratios) < 0


def test_the_laws_of_known_deviations_follow_from_the_honest_one() -> None:
    found = tokens(np.random.default_rng(1), HONEST, 1_000)
    honest_n = HONEST.probability_n(found)
    uniform_n = Admissible(1.0).probability_n(found, honest_n)
    assert uniform_n is not None
    np.testing.assert_allclose(uniform_n, np.where(found.inside_n, 1 / found.admissible_n, 0))
    random_n = Substitution(0.25).probability_n(found, honest_n)
    assert random_n is not None
    np.testing.assert_allclose(random_n, np.where(found.outside_n == 1, 0.25, 0) + 0.75 * honest_n)
