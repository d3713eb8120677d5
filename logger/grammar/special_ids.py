"""Tokens that llguidance never matches by text. A grammar holds them by their ids: `<[151657]>`.

Source: llguidance 1.9.1, `toktrie_hf_tokenizers`: all special tokens, and all added tokens of the form `<...>`, for
example Qwen3's `<tool_call>`, which its tokenizer does not call special. If a grammar forces the text of one, the mask
allows that token, and the token then does not fit: vLLM fails the request.
"""

from tokenizers import Tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of these tokens, by their texts."""
    return {
        token.content: i
        for i, token in tokenizer.get_added_tokens_decoder().items()
        if token.special or (token.content.startswith("<") and token.content.endswith(">"))
    }
