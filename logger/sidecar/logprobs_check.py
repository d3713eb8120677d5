"""The doctor's check of the trusted server of log probabilities: it is asked as clients' requests would ask it."""

import asyncio
from collections.abc import Collection, Mapping

from weightwarden.logger.doctor.finding import Finding, fault, ok, warning
from weightwarden.logger.doctor.network import without_secrets
from weightwarden.logger.record import MAX_TOP_LOGPROBS
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.logprobs.trusted_server import TrustedServer
from weightwarden.logger.sidecar.metrics import Metrics
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.settings import Settings
from weightwarden.text import printable

CHECK = "logprobs"
_SECONDS = 60.0
"""Seconds in which the server must score two tokens. Its first request may compile."""


def logprobs_findings(
    settings: Settings,
    models: Mapping[str, int | None] | None,
    key: str | None,
    model: ServedModel | None,
    adapters: Collection[str] = (),
) -> list[Finding]:
    """The findings about the server.

    Args:
        settings: the settings, with a URL of the server.
        models: context length by name of the models that it lists, or None if it lists none.
        key: API key for it, or None.
        model: the served model, if it can be used.
        adapters: names of the low-rank adapters, which it must serve, too.
    """
    assert settings.logprobs_url is not None
    url, name = without_secrets(settings.logprobs_url), settings.logprobs_model or settings.upstream_model
    if models is None:
        advice = "start the server, or correct --logprobs-url or --logprobs-key"
        return [fault(CHECK, f"{url}: does not list its models", advice)]
    if name not in models:
        return [fault(CHECK, f"{url}: does not serve {printable(name)}", "correct --logprobs-model")]
    length = models[name]
    if model is not None and length is not None and length < model.context_length:
        found = f"{url}: its context of {length} tokens is shorter than the {model.context_length} of this sidecar"
        return [fault(CHECK, found, "start it with the --max-model-len of the inference server")]
    missing = sorted(set(adapters) - models.keys())
    if missing:
        return [fault(CHECK, f"{url}: does not serve adapter {printable(missing[0])}", "load all adapters there, too")]
    return [asyncio.run(_asked(settings.logprobs_url, name, key, None if model is None else model.vocabulary))]


async def _asked(url: str, name: str, key: str | None, vocabulary: int | None) -> Finding:
    shown = without_secrets(url)
    async with TrustedServer(url, name, api_key=key, seconds=_SECONDS, metrics=Metrics()) as server:
        reason = await _failure(server, [0, 0], 1)
        if reason == "logprobs: no log probabilities":
            return fault(CHECK, f"{shown}: gives raw logits", "start it with --logprobs-mode raw_logprobs")
        if reason is not None:
            return fault(CHECK, f"{shown}: gives none ({reason})", "give a vLLM server with /v1/completions")
        if await _failure(server, [0, 0], MAX_TOP_LOGPROBS) is not None:
            found = f"{shown}: gives fewer than {MAX_TOP_LOGPROBS} a token"
            return fault(CHECK, found, f"start it with --max-logprobs {MAX_TOP_LOGPROBS}")
        if vocabulary is not None and await _failure(server, [0, vocabulary - 1], 1) is not None:
            return fault(CHECK, f"{shown}: refuses token {vocabulary - 1}", "give a server of the same model")
        if vocabulary is not None and await _failure(server, [0, vocabulary], 1) is None:
            found = f"{shown}: accepts token {vocabulary}, which the model does not have"
            return warning(CHECK, found, "compare its model with --model-dir")
    return ok(CHECK, f"{shown}: gives log probabilities of {printable(name)}")


async def _failure(server: TrustedServer, token_ids: list[int], top: int) -> str | None:
    """The reason why the server does not score a transcript, or None."""
    try:
        await server.score(token_ids, top=top)
    except ApiError as error:
        return error.reason
    return None
