"""Interpretation of requests: their token ids and sampling parameters. Tokenization happens on the trusted side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from weightwarden.logger.record import Grammar
from weightwarden.logger.sidecar.answer_plan import planned, refuse_beside
from weightwarden.logger.sidecar.constraints.constraint import Constraint, format_of
from weightwarden.logger.sidecar.errors import invalid, no_such_model
from weightwarden.logger.sidecar.grammar_gate import GrammarGate
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.prepare_pool import PreparePool
from weightwarden.logger.sidecar.prompts.chat_template import TemplateRefusal
from weightwarden.logger.sidecar.wire.answer_form import AnswerForm, Head
from weightwarden.logger.sidecar.wire.openai_forms import ChatForm, CompletionForm, ReasoningFields, StreamUsage
from weightwarden.logger.sidecar.wire.requests import (
    MAX_STOP_IDS,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    Request,
)
from weightwarden.logger.sidecar.wire.tools import NamedTool
from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.params import SamplingParams

INLINE_CHARACTERS = 8192
"""Characters of text that are tokenized on the event loop. Longer texts go to another thread."""
INLINE_MESSAGES = 64
"""Messages of a chat that is rendered on the event loop. Longer chats go to another thread."""
COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` for completions."""
MAX_LOGPROBS = 1 << 20
"""Log probabilities of one choice. The trusted server's response has some 100 bytes for each."""
_TAKEN = frozenset(
    {
        *("messages", "conversation", "tools", "documents", "add_generation_prompt", "continue_final_message"),
        *("chat_template", "tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
        *("return_assistant_tokens_mask", "tokenizer_kwargs"),
    }
)
"""Names no template variable can have: the sidecar sets them, or transformers reads them as its own arguments."""
_UNSET = (None, "auto")
"""Values of template variables that vLLM treats as absent."""


def _variables(request: ChatRequest) -> dict[str, Any]:
    """The variables that a request sets for its template, by vLLM's rules: an effort decides on thinking, too."""
    extra = request.chat_template_kwargs or {}
    said = {name: value for name, value in extra.items() if value not in _UNSET}
    if request.reasoning_effort is None:
        return said
    effort = {"reasoning_effort": request.reasoning_effort}
    thinks = {} if "enable_thinking" in extra else {"enable_thinking": request.reasoning_effort != "none"}
    return said | effort | thinks


@dataclass(frozen=True, kw_only=True)
class RequestInterpreter:
    """Interpreter of requests for one model, within limits.

    Attributes:
        model: the model.
        limits: the limits.
        client_seeds: whether clients' seeds are used.
        workers: threads for large requests.
        grammars: gate of the requests' grammars.
        speculates: whether the server decodes speculatively. Only temperature 0 is served then.
        reasoning_content: whether reasoning also has its older name `reasoning_content` in answers.
        stops_in_reasoning: whether stop strings end an answer within its reasoning, too.
        gives_logprobs: whether there is a trusted server of log probabilities.
    """

    model: ServedModel
    limits: Limits
    client_seeds: bool
    workers: PreparePool
    grammars: GrammarGate = field(default_factory=GrammarGate)
    speculates: bool = False
    reasoning_content: bool = False
    stops_in_reasoning: bool = False
    gives_logprobs: bool = False

    async def of_chat(self, request: ChatRequest) -> GenerationRequest:
        """The generation request of a chat request.

        Raises:
            ApiError: it cannot be served.
        """
        chat = self.model.chat_with_tools if request.tools else self.model.chat
        if chat is None:
            if request.tools and self.model.chat is not None:
                raise invalid("the model has no chat template for tools", "tools")
            raise invalid("the model has no chat template; use /v1/completions")
        extra = request.chat_template_kwargs or {}
        if not extra.keys().isdisjoint(_TAKEN) or not all(name.isidentifier() for name in extra):
            raise invalid("a template variable that cannot be set", "chat_template_kwargs")
        if len({request.max_tokens, request.max_completion_tokens} - {None}) > 1:
            raise invalid("max_tokens and max_completion_tokens differ", "max_tokens")
        add_generation_prompt = request.add_generation_prompt is not False
        continue_final_message = bool(request.continue_final_message)
        if add_generation_prompt and continue_final_message:
            raise invalid("needs add_generation_prompt to be false", "continue_final_message")
        render = partial(
            chat.render,
            [message.given() for message in request.messages],
            tools=[tool.given() for tool in request.tools] if request.tools else None,
            documents=request.documents,
            variables=_variables(request),
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        try:
            text = render() if len(request.messages) <= INLINE_MESSAGES else await self.workers.run(render)
        except TemplateRefusal as error:
            raise invalid(str(error), "messages") from None
        prompts = await self._tokenized([text], special=bool(request.add_special_tokens), field="messages")
        max_tokens = request.max_tokens or request.max_completion_tokens
        fields = ReasoningFields(
            also_reasoning_content=self.reasoning_content, include=request.include_reasoning is not False
        )
        named = isinstance(request.tool_choice, NamedTool)
        form = partial(ChatForm, usage=_usage(request), fields=fields, named_call=named)
        asked = self._asked(request, prompts, max_tokens, form, field="messages")
        self._check_logprobs(request, asked)
        plan = planned(request, asked.sampling, self.model.shape, text, stops_inside=self.stops_in_reasoning)
        return replace(
            asked,
            sampling=plan.sampling(asked.sampling),
            grammar=await self._checked(plan.constraint),
            reasoning=plan.reasoning,
            reader=plan.reader,
            call_id=plan.call_id,
        )

    async def of_completion(self, request: CompletionRequest) -> GenerationRequest:
        """The generation request of a completion request.

        Raises:
            ApiError: it cannot be served.
        """
        given = request.prompts()
        self._check_choices(len(given) * (request.n or 1))
        special = request.add_special_tokens is not False
        texts = [one for one in given if isinstance(one, str)]
        prompts: list[Sequence[int]] = [one for one in given if not isinstance(one, str)]
        if texts:
            prompts = await self._tokenized(texts, special=special, field="prompt")
        form = partial(CompletionForm, usage=_usage(request))
        if request.max_tokens == 0 and not request.echo:
            raise invalid("0 is not served without echo: there would be no text", "max_tokens")
        max_tokens = COMPLETION_TOKENS if request.max_tokens is None else max(1, request.max_tokens)
        asked = self._asked(request, prompts, max_tokens, form, field="prompt")
        asked = replace(asked, echo=bool(request.echo))
        self._check_logprobs(request, asked)
        constraint = format_of(request)
        if constraint is not None:
            refuse_beside(asked.sampling)
        return replace(asked, grammar=await self._checked(constraint))

    async def _checked(self, constraint: Constraint | None) -> Grammar | None:
        """The grammar of a constraint, compiled once for checking."""
        if constraint is None:
            return None
        return await self.grammars.check(constraint.kind, constraint.text, constraint.field)

    async def _tokenized(self, texts: Sequence[str], *, special: bool, field: str) -> list[Sequence[int]]:
        """Token ids of a request's prompts.

        A request with a text that has too many characters is refused before any is tokenized. Tokenization stops at the
        first prompt that has too many tokens.
        """
        limit = self._prompt_limit
        if max(map(len, texts)) > limit * self.model.longest_token:
            raise invalid(f"longer than {limit} tokens can be", field)

        def tokenized() -> list[Sequence[int]]:
            prompts = []
            for text in texts:
                prompts.append(self.model.tokenize(text, add_special_tokens=special))
                self._check_length(prompts[-1], field)
            return prompts

        try:
            if sum(map(len, texts)) <= INLINE_CHARACTERS:
                return tokenized()
            return await self.workers.run(tokenized)
        except UnicodeEncodeError:
            raise invalid("text that is not Unicode", field) from None

    def _check_length(self, prompt: Sequence[int], field: str) -> None:
        if len(prompt) > self._prompt_limit:
            raise invalid(f"{len(prompt)} tokens, more than {self._prompt_limit}", field)

    @property
    def _prompt_limit(self) -> int:
        """Largest number of prompt tokens. At least one token is left for the answer."""
        most = self.model.context_length - 1
        return most if self.limits.prompt is None else min(most, self.limits.prompt)

    def _asked(
        self,
        request: ChatRequest | CompletionRequest,
        prompts: Sequence[Sequence[int]],
        max_tokens: int | None,
        form: Callable[[Head], AnswerForm],
        *,
        field: str,
    ) -> GenerationRequest:
        try:
            adapter = self.model.adapter_of(request.model)
        except KeyError:
            raise no_such_model(request.model, self.model.name) from None
        if not prompts:
            raise invalid("there is no prompt", field)
        choices = request.n or 1
        self._check_choices(len(prompts) * choices)
        longest = 0
        for prompt in prompts:
            longest = max(longest, len(prompt))
            if not prompt:
                raise invalid("a prompt without tokens", field)
            self._check_length(prompt, field)
            self._check_ids(prompt, field)
        wanted = request.wanted_logprobs()
        draws = request.max_tokens != 0
        context = self.model.context_length - (wanted is not None and draws)
        room = context - longest
        if max_tokens is None:
            max_tokens = max(1, min(room, self.model.defaults.answer_length or room))
        if max_tokens > room:
            less = "" if wanted is None else " less one, which is left for logprobs"
            raise invalid(
                f"{longest} tokens of prompt and max_tokens = {max_tokens} are more than the context of"
                f" {self.model.context_length} tokens{less}",
                "max_tokens",
            )
        sampling = request.sampling(self.model.defaults.sampling, max_tokens)
        self._check_sampling(sampling)
        seed = request.seed if self.client_seeds else None
        if seed is not None and seed < 0:
            raise invalid("below 0", "seed")
        return GenerationRequest(
            prompts=[list(prompt) for prompt in prompts],
            sampling=sampling,
            choices=choices,
            seed=seed,
            stream=bool(request.stream),
            form=form,
            adapter=None if adapter is None else adapter.of_record(),
            logprobs=wanted,
            draws=draws,
        )

    def _check_logprobs(self, request: ChatRequest | CompletionRequest, asked: GenerationRequest) -> None:
        """Refuse log probabilities, or the prompt's text, where they cannot be given."""
        wanted = asked.logprobs
        if request.stream and (asked.echo or wanted is not None):
            raise invalid("echo and log probabilities are served with whole answers only", "stream")
        if wanted is None:
            return
        if not self.gives_logprobs:
            raise invalid(
                "logprobs is not served here: it needs a trusted server beside the inference server (--logprobs-url)",
                "logprobs",
            )
        longest = max(map(len, asked.prompts)) + (asked.sampling.max_tokens or 0)
        if longest * (wanted.top + 1) > MAX_LOGPROBS:
            raise invalid(
                f"{wanted.top} log probabilities at each of up to {longest} tokens are more than {MAX_LOGPROBS} a"
                " choice; give a smaller max_tokens, or ask for fewer",
                "top_logprobs" if isinstance(request, ChatRequest) else "logprobs",
            )

    def _check_choices(self, choices: int) -> None:
        if choices > self.limits.choices:
            raise invalid(f"{choices} choices in one request, more than {self.limits.choices}", "n")

    def _check_sampling(self, sampling: SamplingParams) -> None:
        if self.speculates and not sampling.is_greedy:
            raise invalid(
                "the server decodes speculatively, and only temperature 0 can be replayed then", "temperature"
            )
        if sampling.max_tokens is not None and sampling.min_tokens > sampling.max_tokens:
            raise invalid("more than max_tokens", "min_tokens")
        for name, ids in (
            ("stop_token_ids", sampling.stop_token_ids),
            ("logit_bias", list(sampling.logit_bias)),
            ("allowed_token_ids", sampling.allowed_token_ids or []),
        ):
            self._check_ids(ids, name)
        undefined = undefined_field(sampling, self.model.eos_ids, self.model.vocabulary)
        if undefined is not None:
            field, why = undefined
            raise invalid(why, field)
        if len(self.model.eos_ids.union(sampling.stop_token_ids)) > MAX_STOP_IDS:
            raise invalid(f"with those that end a sequence, more than {MAX_STOP_IDS}", "stop_token_ids")

    def _check_ids(self, ids: Sequence[int], field: str) -> None:
        if ids and max(ids) >= self.model.vocabulary:
            raise invalid(f"token id {max(ids)} is outside the vocabulary of {self.model.vocabulary}", field)


def _usage(request: Request) -> StreamUsage:
    return StreamUsage() if request.stream_options is None else request.stream_options.usage
