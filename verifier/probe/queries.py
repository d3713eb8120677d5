"""Queries of a probe, and the answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from weightwarden.logger.record import Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.errors import UnusableAnswer
from weightwarden.verifier.provider.client import ProviderClient
from weightwarden.verifier.provider.completion import check_prompt, output_tokens
from weightwarden.verifier.provider.prompt import Prompt

PROMPTS = (
    "A list of random words, in no order: ",
    "Once upon a time, in a land that nobody remembers, there lived",
    "Random first names from all over the world:",
    "The strangest dream that I ever had began when",
    "Ten unrelated facts that most people do not know:\n1.",
    "Dear diary, today",
    "Random numbers and letters: 7",
    "The following is a conversation between two strangers on a train.\n\nA:",
)
"""Prompts with many about equally likely next tokens, so that few tokens reveal much about their draw."""

FILTERED: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.95}
UNFILTERED: dict[str, Any] = {"temperature": 1.0}
GREEDY: dict[str, Any] = {"temperature": 0.0}


@dataclass(frozen=True)
class ProbeAnswer:
    """One request, and the tokens of its answer.

    Attributes:
        seed: seed of the request.
        token_ids: tokens of the answer, with the end-of-sequence token if it is known.
    """

    question: Prompt
    seed: int
    token_ids: list[int]

    def record(self, scheme_name: str, sampling: SamplingParams, seed: int | None = None) -> Record:
        """The answer as a record of a scheme, with other parameters or another seed if given.

        Raises:
            pydantic.ValidationError: the scheme cannot have drawn it.
        """
        return Record.model_validate(
            {
                "engine": {"name": "unknown", "version": "unknown", "sampler": scheme_name},
                "model": "unknown",
                "prompt_token_ids": self.question.token_ids,
                "output_token_ids": self.token_ids,
                "seed": self.seed if seed is None else seed,
                "choice_index": 0,
                "sampling": sampling,
                "finish_reason": "length",
                "stop_reason": None,
            }
        )


@dataclass
class ProbeQueries:
    """Answers of a server.

    Attributes:
        greedy: answers at temperature 0.
        unfiltered: answers at temperature 1.
        filtered: answers with `FILTERED`.
        same_seed: answer to the first unfiltered prompt, sent again with the same seed.
        other_seed: answer to the first unfiltered prompt, sent again with another seed.
        left_out: reasons why answers are not among these.
        retokenised: number of answers whose tokens were made from text.
    """

    greedy: list[ProbeAnswer] = field(default_factory=list)
    unfiltered: list[ProbeAnswer] = field(default_factory=list)
    filtered: list[ProbeAnswer] = field(default_factory=list)
    same_seed: ProbeAnswer | None = None
    other_seed: ProbeAnswer | None = None
    left_out: list[str] = field(default_factory=list)
    retokenised: int = 0


@dataclass(frozen=True, kw_only=True)
class Interviewer:
    """Interviewer of one server.

    Attributes:
        tokenizer: tokenizer of the trusted copy of the model.
        tokens: length of an answer.
        seeds: at least 2 + 2 * questions of them, all different, which the server cannot have known.
    """

    client: ProviderClient
    tokenizer: Any
    tokens: int
    seeds: Sequence[int]

    def interview(self, count: int) -> ProbeQueries:
        """Ask `count` prompts of each kind.

        Raises:
            ReplayServerError: the server fails.
        """
        seeds = iter(self.seeds)
        found = ProbeQueries()
        questions = [Prompt.parse({"prompt": PROMPTS[i % len(PROMPTS)]}, self.tokenizer) for i in range(count)]
        found.greedy += self._all(found, questions[: (count + 1) // 2], GREEDY, seeds)
        found.unfiltered += self._all(found, questions, UNFILTERED, seeds)
        found.filtered += self._all(found, questions, FILTERED, seeds)
        if found.unfiltered:
            first = found.unfiltered[0]
            found.same_seed = self._said(found, first.question, UNFILTERED, first.seed)
            found.other_seed = self._said(found, first.question, UNFILTERED, next(seeds))
        return found

    def _all(
        self, found: ProbeQueries, questions: Sequence[Prompt], sampling: dict[str, Any], seeds: Any
    ) -> list[ProbeAnswer]:
        answers = [self._said(found, question, sampling, next(seeds)) for question in questions]
        return [answer for answer in answers if answer is not None]

    def _said(self, found: ProbeQueries, question: Prompt, sampling: dict[str, Any], seed: int) -> ProbeAnswer | None:
        try:
            answer = self.client.ask(question, {**sampling, "max_tokens": self.tokens, "seed": seed})
            check_prompt(answer, question)
            output = output_tokens(answer, self.tokenizer, question.token_ids, None)
            if not output.token_ids:
                raise UnusableAnswer("no token")
        except UnusableAnswer as error:
            found.left_out.append(str(error))
            return None
        found.retokenised += output.retokenised
        return ProbeAnswer(question, seed, output.token_ids)
