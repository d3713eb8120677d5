"""Request fields that would change the answer and are not served, with the values that ask for nothing.

They are fields of OpenAI's API, of vLLM 0.32 (`vllm/entrypoints/openai/*/protocol.py`), of older vLLM, and of other
servers with OpenAI's API. The values are their defaults, and those by which clients decline a feature. Null always asks
for nothing. A request model that declares a field serves it.
"""

from collections.abc import Mapping

_OPENAI_AND_VLLM: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template": (),
    "documents": ([],),
    "early_stopping": (False,),
    "echo": (False,),
    "ec_transfer_params": ({},),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "include_reasoning": (True,),
    "kv_transfer_params": ({},),
    "length_penalty": (1, 1.0),
    "logits_processors": ([],),
    "logprob_token_ids": ([],),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "prompt_embeds": (),
    "prompt_logprobs": (),
    "reasoning_effort": (),
    "repetition_detection": (),
    "response_format": ({"type": "text"},),
    "return_prompt_text": (False,),
    "return_token_ids": (False,),
    "return_token_offsets": (False,),
    "return_tokens_as_token_ids": (False,),
    "spaces_between_special_tokens": (True,),
    "structured_outputs": (),
    "suffix": ("",),
    "thinking_token_budget": (),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
    "vllm_xargs": ({},),
    "watermarking": (False,),
    "web_search_options": (),
}
_OTHER_SERVERS: Mapping[str, tuple[object, ...]] = {
    "custom_logit_processor": (),
    "custom_params": ({},),
    "dry_multiplier": (0, 0.0),
    "dynatemp_range": (0, 0.0),
    "ebnf": (),
    "enable_thinking": (),
    "grammar": (),
    "input_embeds": (),
    "json_schema": (),
    "lora_path": (),
    "max_length": (),
    "max_new_tokens": (),
    "min_new_tokens": (0,),
    "mirostat": (0,),
    "n_predict": (),
    "n_probs": (0,),
    "no_repeat_ngram_size": (0,),
    "no_stop_trim": (False,),
    "reasoning": (),
    "regex": (),
    "repeat_penalty": (1, 1.0),
    "return_hidden_states": (False,),
    "safe_prompt": (False,),
    "samplers": (),
    "session_params": (),
    "stop_regex": ([],),
    "tfs_z": (1, 1.0),
    "thinking": ({"type": "disabled"},),
    "top_a": (0, 0.0),
    "typical_p": (1, 1.0),
    "xtc_probability": (0, 0.0),
}
NEUTRAL: Mapping[str, tuple[object, ...]] = {**_OPENAI_AND_VLLM, **_OTHER_SERVERS}


def asks_for_nothing(field: str, value: object) -> bool:
    """True if a field of NEUTRAL has a value that asks for nothing. The comparison distinguishes true from 1."""
    return value is None or any(type(value) is type(one) and value == one for one in NEUTRAL[field])
