"""Requests answered by a real vLLM server."""

from collections.abc import Sequence

from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Record
from weightwarden.verifier.replay.vllm.client import VllmClient

AT_ONCE = 16


def answered(client: VllmClient, request: Record, eos_ids: Sequence[int]) -> Record:
    """A request with the server's own answer instead of the recorded one. Its limit is the request's, or 100 tokens."""
    limit = request.sampling.max_tokens or 100
    output = client.draw(request.prompt_token_ids, limit, request_sampling(request))
    reason = "stop" if output[-1] in eos_ids else "length"
    return request.model_copy(update={"output_token_ids": output, "finish_reason": reason, "stop_reason": None})
