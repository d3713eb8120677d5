"""A request and its answer as a record, so that a provider's greedy traffic can be verified."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from weightwarden.logger.record import Record
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.validation_message import validation_message
from weightwarden.text import printable
from weightwarden.verifier.errors import UnusableAnswer
from weightwarden.verifier.provider.client import ProviderClient
from weightwarden.verifier.provider.completion import Completion, check_prompt, output_tokens
from weightwarden.verifier.provider.prompt import Prompt, PromptError

_EXCHANGE = ("request", "response")
_NOT_SAMPLING = frozenset(
    (
        *("model", "prompt", "messages", "stream", "stream_options", "user", "metadata", "store", "seed"),
        *("logprobs", "top_logprobs", "return_token_ids", "return_tokens_as_token_ids", "max_completion_tokens"),
    )
)
"""Fields of a request that do not concern sampling, or that are checked separately."""


@dataclass(frozen=True)
class Recorded:
    """A record, and whether its output was re-tokenised from text."""

    record: Record
    retokenised: bool


@dataclass(frozen=True, kw_only=True)
class CompletionRecorder:
    """Maker of records from requests to one provider and its answers.

    Attributes:
        engine: name, version and sampler of the records' engine.
        tokenizer: tokenizer of the trusted copy of the model.
        end_id: the model's end-of-sequence token.
    """

    engine: Mapping[str, str]
    tokenizer: Any
    end_id: int | None

    def asked(self, fields: Any, client: ProviderClient, sampling: Mapping[str, Any]) -> Recorded:
        """The record of a prompt (`Prompt.parse`) that is sent now, with OpenAI's sampling parameters.

        Raises:
            PromptError: the object holds no prompt.
            UnusableAnswer: the answer cannot become a record.
            ReplayServerError: the server fails, or refuses the request.
        """
        question = Prompt.parse(fields, self.tokenizer)
        return self.record(question, sampling_of(sampling), client.ask(question, sampling), client.served_model())

    def exchange(self, fields: Any) -> Recorded:
        """The record of a saved exchange: an object with `request` and `response`, in the form of the API.

        Raises:
            PromptError: the request holds no prompt.
            UnusableAnswer: the answer cannot become a record.
        """
        if not isinstance(fields, dict) or not all(isinstance(fields.get(part), dict) for part in _EXCHANGE):
            raise PromptError("not an exchange: an object of request and response, two objects")
        request, response = (fields[part] for part in _EXCHANGE)
        named = request.get("model")
        return self.record(
            Prompt.parse(request, self.tokenizer),
            sampling_of(request),
            Completion.parse(response),
            named if isinstance(named, str) and named else "unknown",
        )

    def record(self, question: Prompt, sampling: SamplingParams, answer: Completion, model: str) -> Recorded:
        """The record of an answer without a seed.

        1. Check that the server's prompt is ours, as far as the server reports its ids, or their number.
        2. Take the server's token ids, or else its text's. A text that ends before a stop string does not show its end.
        3. Refuse a record that cannot be replayed.

        Args:
            model: name of the model in the record.

        Raises:
            UnusableAnswer: one of these checks failed; the message names it.
        """
        # 1
        check_prompt(answer, question)
        # 2
        output = output_tokens(answer, self.tokenizer, question.token_ids, self.end_id)
        if output.retokenised and (sampling.stop or sampling.stop_token_ids):
            raise UnusableAnswer("stop strings end answers where their text does not show it")
        # 3
        try:
            record = Record.model_validate(
                {
                    "engine": dict(self.engine),
                    "model": printable(model),
                    "prompt_token_ids": question.token_ids,
                    "output_token_ids": output.token_ids,
                    "seed": None,
                    "choice_index": 0,
                    "sampling": sampling,
                    "finish_reason": answer.finish_reason,
                    "stop_reason": answer.stop_reason,
                }
            )
        except ValidationError as error:
            raise UnusableAnswer(validation_message(error)) from None
        return Recorded(record, output.retokenised)


def sampling_of(request: Mapping[str, Any]) -> SamplingParams:
    """Sampling parameters of a request in OpenAI's form.

    Raises:
        UnusableAnswer: a field is unknown or cannot be replayed.
    """
    fields = {name: value for name, value in request.items() if name not in _NOT_SAMPLING}
    if request.get("max_completion_tokens") is not None:
        fields["max_tokens"] = request["max_completion_tokens"]
    if "temperature" not in fields:
        raise UnusableAnswer("temperature: the request leaves it to the server")
    try:
        return SamplingParams.model_validate(fields)
    except ValidationError as error:
        raise UnusableAnswer(f"the request's {validation_message(error)}") from None
