"""vLLM's additions to a request, which every wire takes as a chat does."""

from typing import Any

from pydantic import Field

from weightwarden.logger.sidecar.wire.strict_fields import Strict

_AS_IN_A_CHAT = Field(default=None, description="As in a request of /v1/chat/completions.")


class VllmFields(Strict):
    """Fields whose values `ChatRequest` validates."""

    seed: Any = _AS_IN_A_CHAT
    min_p: Any = _AS_IN_A_CHAT
    top_k: Any = _AS_IN_A_CHAT
    repetition_penalty: Any = _AS_IN_A_CHAT
    presence_penalty: Any = _AS_IN_A_CHAT
    frequency_penalty: Any = _AS_IN_A_CHAT
    min_tokens: Any = _AS_IN_A_CHAT
    stop: Any = _AS_IN_A_CHAT
    stop_token_ids: Any = _AS_IN_A_CHAT
    ignore_eos: Any = _AS_IN_A_CHAT
    logit_bias: Any = _AS_IN_A_CHAT
    allowed_token_ids: Any = _AS_IN_A_CHAT
    include_stop_str_in_output: Any = _AS_IN_A_CHAT
    skip_special_tokens: Any = _AS_IN_A_CHAT
    structured_outputs: Any = _AS_IN_A_CHAT
    thinking_token_budget: Any = _AS_IN_A_CHAT
    chat_template_kwargs: Any = _AS_IN_A_CHAT

    def as_in_a_chat(self) -> dict[str, Any]:
        """The fields that are set."""
        given = {name: getattr(self, name) for name in VllmFields.model_fields}
        return {name: value for name, value in given.items() if value is not None}
