"""Fields of OpenAI's API and of vLLM 0.32 that cannot change an answer here: accepted, and never read."""

from typing import Any

from pydantic import Field, JsonValue
from pydantic.config import JsonDict

from weightwarden.logger.sidecar.wire.strict_fields import Strict

NO_EFFECT_SCHEMA: JsonDict = {"description": "Accepted, and without effect."}


def unread() -> Any:
    """A field that is accepted, and without effect. At the top of a body it is never even read."""
    return Field(default=None, json_schema_extra=NO_EFFECT_SCHEMA)


class EffectlessFields(Strict):
    """Fields that concern accounts, storage, caches, scheduling, or media that are not served."""

    cache_salt: JsonValue = unread()
    media_io_kwargs: JsonValue = unread()
    metadata: JsonValue = unread()
    mm_payload: JsonValue = unread()
    mm_processor_kwargs: JsonValue = unread()
    prediction: JsonValue = unread()
    priority: JsonValue = unread()
    prompt_cache_key: JsonValue = unread()
    prompt_cache_options: JsonValue = unread()
    prompt_cache_retention: JsonValue = unread()
    request_id: JsonValue = unread()
    return_mm_kwargs: JsonValue = unread()
    routed_experts_prompt_start: JsonValue = unread()
    safety_identifier: JsonValue = unread()
    service_tier: JsonValue = unread()
    session_id: JsonValue = unread()
    store: JsonValue = unread()
    stream_interval: JsonValue = unread()
    truncation_side: JsonValue = unread()
    user: JsonValue = unread()
    verbosity: JsonValue = unread()
