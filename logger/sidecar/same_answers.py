"""The check of `sidecar doctor` that several servers draw alike: one seeded request, asked of each."""

import asyncio
from contextlib import aclosing, suppress
from typing import Any

from pydantic import ValidationError

from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.record import CUT_OFF_BY_LOGGER, Record
from weightwarden.logger.sidecar.errors import UpstreamError
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.logger.sidecar.upstream.client import Upstream
from weightwarden.sampler.params import SamplingParams

_TOKENS, _SECONDS = 32, 20.0
_TEXT = "The history of the city begins"
_CHECK = "same answers"


def check_same_answers(settings: Settings, model: ServedModel, api_key: str | None) -> list[Finding]:
    """The findings on the servers' answers to one request, which are all equal if they draw alike.

    The answers stay here: they are compared, and no one gets them.

    Args:
        settings: settings with several servers, which all serve the model.
        model: the model.
        api_key: API key for the servers, or None.
    """
    asked = _request(settings, model)

    async def ask_all() -> list[list[int] | UpstreamError]:
        return list(
            await asyncio.gather(*(_drawn(settings, model, api_key, one.url, asked) for one in settings.upstreams))
        )

    answers = asyncio.run(ask_all())
    names = [one.name for one in settings.upstreams]
    findings: list[Finding] = []
    by_answer: dict[tuple[int, ...], list[str]] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, UpstreamError):
            what = f"{name}: fails a request of {_TOKENS} tokens: {answer.reason}"
            findings.append(fault(_CHECK, what, "see its own log; sidecar doctor again"))
        else:
            by_answer.setdefault(tuple(answer), []).append(name)
    if len(by_answer) > 1:
        groups = " | ".join(", ".join(group) for group in by_answer.values())
        advice = "the same weights, dtype, version and VLLM_BATCH_INVARIANT=1 on all? verify probe --url asks one"
        findings.append(warning(_CHECK, f"to one seeded request they differ: {groups}", advice))
    return findings or [ok(_CHECK, f"{', '.join(names)}: the same {len(next(iter(by_answer)))} tokens under one seed")]


def _request(settings: Settings, model: ServedModel) -> Record:
    """A request at temperature 1, or at 0 where the servers speculate or the scheme does not draw without filters."""
    fields: dict[str, Any] = {
        "engine": settings.engine,
        "model": model.name,
        "prompt_token_ids": list(model.tokenize(_TEXT, add_special_tokens=True)),
        "output_token_ids": [],
        "choice_index": 0,
        "finish_reason": "abort",
        "stop_reason": CUT_OFF_BY_LOGGER,
    }
    limit = min(_TOKENS, model.context_length // 2)
    if not settings.speculative_decoding:
        with suppress(ValidationError):
            return Record(**fields, seed=1, sampling=SamplingParams(max_tokens=limit))
    return Record(**fields, seed=None, sampling=SamplingParams(max_tokens=limit, temperature=0.0))


async def _drawn(
    settings: Settings, model: ServedModel, api_key: str | None, url: str, asked: Record
) -> list[int] | UpstreamError:
    """A server's answer to a request, or its failure."""
    ids: list[int] = []
    try:
        async with (
            Upstream(
                url,
                settings.upstream_model,
                vocabulary=model.vocabulary,
                context_length=model.context_length,
                api_key=api_key,
                first_token=_SECONDS,
                stall=_SECONDS,
            ) as server,
            aclosing(server.draw(asked)) as stream,
        ):
            async for drawn in stream:
                ids += drawn.ids
    except UpstreamError as error:
        return error
    return ids
