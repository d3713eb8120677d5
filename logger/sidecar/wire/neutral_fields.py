"""Request fields that are not served, with the values that ask for nothing.

The fields are those of OpenAI's API and of vLLM 0.32 (`vllm/entrypoints/openai/*/protocol.py`). The values are their
defaults, and those by which other clients decline a feature. Null always asks for nothing.
"""

from collections.abc import Mapping

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "documents": (),
    "echo": (False,),
    "ec_transfer_params": ({},),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "include_reasoning": (True,),
    "kv_transfer_params": ({},),
    "length_penalty": (1, 1.0),
    "logits_processors": ([],),
    "logprob_token_ids": ([],),
    "logprobs": (False,),
    "media_io_kwargs": ({},),
    "mm_payload": ("tensors", "none"),
    "mm_processor_kwargs": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "priority": (0,),
    "prompt_logprobs": (),
    "response_format": ({"type": "text"},),
    "return_mm_kwargs": (True, False),
    "return_prompt_text": (False,),
    "return_token_ids": (False,),
    "return_token_offsets": (False,),
    "return_tokens_as_token_ids": (False,),
    "routed_experts_prompt_start": (0,),
    "spaces_between_special_tokens": (True,),
    "store": (False,),
    "stream_interval": (1,),
    "structured_outputs": (),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncate_prompt_tokens": (),
    "truncation_side": ("left", "right"),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
    "vllm_xargs": ({},),
    "watermarking": (False,),
}


def asks_for_nothing(field: str, value: object) -> bool:
    """True if a field of NEUTRAL has a value that asks for nothing. The comparison distinguishes true from 1."""
    return value is None or any(type(value) is type(one) and value == one for one in NEUTRAL[field])
