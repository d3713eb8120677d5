"""Fields of OpenAI's API and of vLLM 0.32 that cannot change an answer here: accepted, and never read."""

from pydantic import Field, JsonValue
from pydantic.config import JsonDict

from weightwarden.logger.sidecar.wire.strict_fields import Strict

NO_EFFECT_SCHEMA: JsonDict = {"description": "Accepted, and without effect."}


def _unread() -> JsonValue:
    value: JsonValue = Field(default=None, json_schema_extra=NO_EFFECT_SCHEMA)
    return value


class EffectlessFields(Strict):
    """Fields that concern accounts, storage, caches, scheduling, or media that are not served."""

    cache_salt: JsonValue = _unread()
    media_io_kwargs: JsonValue = _unread()
    metadata: JsonValue = _unread()
    mm_payload: JsonValue = _unread()
    mm_processor_kwargs: JsonValue = _unread()
    prediction: JsonValue = _unread()
    priority: JsonValue = _unread()
    prompt_cache_key: JsonValue = _unread()
    prompt_cache_options: JsonValue = _unread()
    prompt_cache_retention: JsonValue = _unread()
    request_id: JsonValue = _unread()
    return_mm_kwargs: JsonValue = _unread()
    routed_experts_prompt_start: JsonValue = _unread()
    safety_identifier: JsonValue = _unread()
    service_tier: JsonValue = _unread()
    session_id: JsonValue = _unread()
    store: JsonValue = _unread()
    stream_interval: JsonValue = _unread()
    truncation_side: JsonValue = _unread()
    user: JsonValue = _unread()
    verbosity: JsonValue = _unread()
